// Ends a track on its last sample. A CMAF file ends with a whole frame, so that tracks can be
// joined without a hole; the manifest says where the music ends, and all three players leave some
// room behind that unless told not to.

export function trimShaka(player) {
  player.configure("streaming.clampAppendWindowToDuration", true); // else 0.1 s of room
}

// hls.js sets no append window at all.
export function trimHls(hls, Hls) {
  let end = Infinity;
  hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => { end = details.totalduration; });
  hls.on(Hls.Events.BUFFER_CREATED, (_, { tracks }) => {
    for (const { buffer } of Object.values(tracks)) buffer.appendWindowEnd = end;
  });
}

// dash.js leaves 0.01 s of room.
export function trimDash(player) {
  player.extend("SourceBufferSink", function () {
    const { parent } = this;
    const { initializeForFirstUse, initializeForStreamSwitch, updateAppendWindow } = parent;
    const trim = ({ start, duration }) => {
      const buffer = parent.getBuffer();
      if (buffer && buffer.appendWindowStart < start + duration) {
        buffer.appendWindowEnd = start + duration;
      }
    };
    return {
      async initializeForFirstUse(media, ...rest) {
        await initializeForFirstUse(media, ...rest);
        trim(media.streamInfo);
      },
      async initializeForStreamSwitch(media, ...rest) {
        await initializeForStreamSwitch(media, ...rest);
        trim(media.streamInfo);
      },
      async updateAppendWindow(period) {
        await updateAppendWindow(period);
        trim(period);
      },
    };
  }, true);
}
