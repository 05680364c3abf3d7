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

// dash.js leaves 0.01 s of room, and loses the window when it aborts to switch tracks.
const ROOM_S = 0.01;

export function trimDash(player) {
  player.extend("SourceBufferSink", function () {
    const { parent } = this;
    const { initializeForFirstUse } = parent;
    return {
      initializeForFirstUse(...args) {
        const ready = initializeForFirstUse(...args);
        const buffer = parent.getBuffer();
        if (buffer) keepWindow(buffer);
        return ready;
      },
    };
  }, true);
}

function keepWindow(buffer) {
  const end = Object.getOwnPropertyDescriptor(SourceBuffer.prototype, "appendWindowEnd");
  let trimmed = null; // what stands there already may be written back
  Object.defineProperty(buffer, "appendWindowEnd", {
    get: () => end.get.call(buffer),
    set: (value) => {
      if (value !== trimmed) trimmed = value - ROOM_S;
      end.set.call(buffer, trimmed);
    },
  });
  buffer.appendWindowEnd = end.get.call(buffer);
  buffer.abort = () => {
    SourceBuffer.prototype.abort.call(buffer); // which opens the window to Infinity
    end.set.call(buffer, trimmed);
  };
}
