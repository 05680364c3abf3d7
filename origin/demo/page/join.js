// Several tracks as one: an MPD with a Period for each, made of the manifests that their sessions
// were given. A Period is as long as the music in it, to the sample, so nothing is between them.

const NS = "urn:mpeg:dash:schema:mpd:2011";

export async function joinManifests(sessions, pathways) {
  const mpds = await Promise.all(sessions.map(async (session) => {
    const url = session.answer.manifests.dash;
    const response = await fetch(url);
    if (!response.ok) throw new Error("a manifest of the album is missing");
    const mpd = new DOMParser().parseFromString(await response.text(), "application/xml");
    return { mpd, url, session };
  }));
  const [first] = mpds;
  const whole = first.mpd.documentElement;
  const parts = [];
  let start = 0;
  for (const { mpd, url, session } of mpds) {
    const period = mpd.querySelector("Period");
    const duration = seconds(period.getAttribute("duration"));
    period.setAttribute("id", String(parts.length + 1));
    period.setAttribute("start", `PT${start.toFixed(6)}S`);
    for (const protection of period.querySelectorAll("ContentProtection")) {
      const kid = protection.getAttribute("cenc:default_KID");
      if (kid) session.kids.add(kid.replaceAll("-", "").toLowerCase());
    }
    const folder = new URL(".", url);
    const bases = [["base", folder.origin], ...pathways.map((p) => [p.id, p.baseUrl])];
    for (const [id, host] of bases.reverse()) {
      const base = whole.ownerDocument.createElementNS(NS, "BaseURL");
      base.setAttribute("serviceLocation", id);
      base.textContent = host + folder.pathname;
      period.prepend(base);
    }
    parts.push({ start, duration });
    if (mpd !== first.mpd) first.mpd.adoptNode(period);
    whole.querySelector("MPD > BaseURL")?.remove();
    whole.append(period);
    start += duration;
  }
  whole.setAttribute("mediaPresentationDuration", `PT${start.toFixed(6)}S`);
  const steering = whole.querySelector("ContentSteering");
  if (steering) steering.textContent = new URL(steering.textContent.trim(), first.url).href;
  const text = new XMLSerializer().serializeToString(first.mpd);
  return { url: URL.createObjectURL(new Blob([text], { type: "application/dash+xml" })), parts };
}

const seconds = (duration) => Number(/^PT([\d.]+)S$/.exec(duration)[1]);
