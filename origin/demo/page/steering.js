// What two players need to follow content steering when manifests hold relative URLs only.
// They have to: manifests are cached for everybody, while the token is a path segment. hls.js
// needs nothing. `pathways` is the list that `play/start` answers: [{id, baseUrl}, ...].

const origin = (url, baseUrl) => new URL(url.pathname + url.search, baseUrl).href;

// Shaka Player's compiled builds rename the fields `ID` and `HOST` of pathway clones, so clones
// never match. Declared pathways do work: declare all of them before the manifest is parsed.
export function teachShaka(player, shaka, pathways) {
  const { RequestType } = shaka.net.NetworkingEngine;
  player.getNetworkingEngine().registerResponseFilter((type, response) => {
    if (type !== RequestType.MANIFEST) return;
    const text = new TextDecoder().decode(response.data);
    const declare = text.startsWith("#EXTM3U") ? declareInPlaylist : declareInMpd;
    response.data = new TextEncoder().encode(declare(text, response.uri, pathways)).buffer;
  });
}

function declareInMpd(text, uri, pathways) {
  const mpd = new DOMParser().parseFromString(text, "application/xml");
  // Shaka knows no adaptation-set-switching and never adapts between sets of different ids: a
  // listener would stay in the tier of the first segment. Its parser accepts one id for all.
  for (const set of mpd.querySelectorAll("AdaptationSet")) set.setAttribute("id", "1");
  for (const base of mpd.querySelectorAll("MPD > BaseURL[serviceLocation]")) {
    const url = new URL(base.textContent.trim(), uri);
    for (const { id, baseUrl } of pathways) {
      const other = base.cloneNode();
      other.setAttribute("serviceLocation", id);
      other.textContent = origin(url, baseUrl);
      base.after(other);
    }
    base.textContent = url.href;
  }
  return new XMLSerializer().serializeToString(mpd);
}

function declareInPlaylist(text, uri, pathways) {
  const variant = /^(#EXT-X-STREAM-INF:.*PATHWAY-ID=")[^"]*(".*)\n(.+)$/gm;
  return text.replace(variant, (base, before, after, path) => {
    const url = new URL(path, uri);
    const others = pathways.map(
      ({ id, baseUrl }) => `${before}${id}${after}\n${origin(url, baseUrl)}`);
    return [base.replace(path, url.href), ...others].join("\n");
  });
}

// dash.js hands the steering URL as written to XMLHttpRequest, which resolves it against the
// page and not against the MPD. Clones work.
export function teachDash(player, dashjs) {
  player.on(dashjs.MediaPlayer.events.MANIFEST_LOADED, ({ data }) => {
    for (const steering of data?.ContentSteering ?? []) {
      steering.__text = new URL(steering.__text.trim(), data.url).href;
    }
  });
}
