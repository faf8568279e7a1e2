// A model of the server and the network, against which the page's outbox.js and api.js run: requests and
// responses get lost, responses break off, the server is busy, and the tab is reloaded. Every message must
// be stored once, in the order in which they were written.
async ({ base, seeds }) => {
  const { Api } = await import(`${base}api.js`);
  const { Outbox } = await import(`${base}outbox.js`);
  const real = { fetch: globalThis.fetch, setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  const random = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const settled = async () => {
    for (let k = 0; k < 60; k++) await null;
  };

  async function run(seed) {
    const next = random(seed);
    const [stored, written, refused, requests] = [[], [], [], []];
    const timers = new Map();
    let made = 0;
    globalThis.setTimeout = (work, wait = 0) => (timers.set(++made, { work, wait }), made);
    globalThis.clearTimeout = (timer) => timers.delete(timer);
    globalThis.fetch = (_, { body }) =>
      new Promise((resolve, reject) => requests.push({ message: JSON.parse(body), resolve, reject, isStored: false }));
    const store = (request) => {
      if (!stored.some(({ client_id }) => client_id === request.message.client_id)) stored.push(request.message);
      request.isStored = true;
    };
    const respond = (request, status, json) => {
      requests.splice(requests.indexOf(request), 1);
      request.resolve({ ok: status === 200, status, headers: new Headers(), json });
    };
    const breaks = async () => {
      throw new TypeError("the body ends too early");
    };
    const open = () => {
      const api = new Api({ onLocked: () => {} });
      const box = new Outbox({ api, onChange: () => {}, onSent: () => {}, onRefused: ({ text }) => refused.push(text) });
      box.run();
      return box;
    };
    sessionStorage.clear();
    let box = open();
    const acts = {
      write: () => (written.push(String(written.length)), box.add("t", written.at(-1))),
      arrive: (request) => request && store(request),
      answer: (request) => request?.isStored && respond(request, 200, async () => ({ thread: "t", answer: null })),
      breakOff: (request) => request?.isStored && respond(request, 200, breaks),
      refuse: (request) => request && respond(request, next() < 0.5 ? 503 : 429, async () => ({})),
      lose: (request) => request && (requests.splice(requests.indexOf(request), 1), request.reject(new TypeError("lost"))),
      tick: () => {
        for (const [timer, { work, wait }] of [...timers]) if (wait <= 5_000) (timers.delete(timer), work());
      },
      hurry: () => box.hurry(),
      reload: () => {
        for (const request of requests.splice(0)) if (next() < 0.5) store(request);
        timers.clear();
        box = open();
      },
    };
    const names = [...Object.keys(acts), "arrive", "answer", "answer", "tick"];
    for (let k = 0; k < 30; k++) {
      const request = requests[Math.floor(next() * requests.length)];
      acts[names[Math.floor(next() * names.length)]](request);
      await settled();
    }
    for (let k = 0; k < 100 && box.items.length; k++) {
      for (const name of ["arrive", "answer", "tick"]) acts[name](requests[0]);
      await settled();
    }
    const texts = stored.map(({ text }) => text);
    const isRight = String(texts) === String(written) && !refused.length && !box.items.length;
    return isRight ? null : { seed, texts, written, refused, left: box.items.length };
  }

  try {
    for (const seed of seeds) {
      const wrong = await run(seed);
      if (wrong) return wrong;
    }
    return null;
  } finally {
    Object.assign(globalThis, real);
  }
}
