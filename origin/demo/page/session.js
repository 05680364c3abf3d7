// One play of one track, as the playback API knows it: started, kept alive, reported, ended.

export async function startSession(config, track, { tier, scheme }) {
  const issued = await fetch(`demo/user-token?tier=${tier}`);
  const { token } = await issued.json();
  const response = await fetch(`${config.origin}/v1/play/start`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Authorization: `Bearer ${token}`,
      "Idempotency-Key": `"${crypto.randomUUID()}"`,
    },
    body: JSON.stringify({
      trackId: track.trackId, deviceId: "demo-browser", qualityHint: "auto", scheme,
    }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.detail}. ${answer.hint ?? ""}`);
  return new Session(config.origin, track, answer);
}

class Session {
  constructor(origin, track, answer) {
    Object.assign(this, { origin, track, answer, seq: 0, kids: new Set() });
    Object.assign(this, { license: answer.license, token: answer.token });
  }

  get startPathway() {
    return this.answer.pathways[0].id;
  }

  async post(path, body) {
    const response = await fetch(this.origin + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.license.token}` },
      body: JSON.stringify(body),
      keepalive: true,
    });
    return response.ok && response.status !== 204 ? response.json() : null;
  }

  // URLs in a manifest carry the first token, which a long album or a pause outlives.
  renewed(url) {
    return url.replace(`/${this.answer.token}/`, `/${this.token}/`);
  }

  async beat(call, positionS) {
    this.seq += 1;
    const answer = await this.post(`/v1/play/${call}`, {
      sessionId: this.answer.sessionId, seq: this.seq, positionMs: Math.round(positionS * 1000),
    });
    if (answer?.license) this.license = answer.license;
    if (answer?.token) this.token = answer.token;
  }
}
