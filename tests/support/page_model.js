// A model of the server and the network, against which the page's sync.js, state.js and threadlist.js run:
// requests and responses overtake each other, connections break, and a process restarts or is not the one
// that wrote. When everything has arrived, the page must show what the server has.
async ({ base, seeds, length, only = null }) => {
  const { Api } = await import(`${base}api.js`);
  const { State } = await import(`${base}state.js`);
  const { Sync } = await import(`${base}sync.js`);
  const { ThreadList } = await import(`${base}threadlist.js`);
  const { branchChanged } = await import(`${base}branches.js`);

  const random = (seed) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const clone = (value) => JSON.parse(JSON.stringify(value));
  const real = { fetch: globalThis.fetch, setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  /** Every promise that can settle has settled: streams and requests here wait for nothing else. */
  const settled = async () => {
    for (let k = 0; k < 60; k++) await null;
  };

  // ── the server ────────────────────────────────────────────────────────────────────────────────
  const FIRST = 4; // threads at the beginning; a page of the channel has two
  class Server {
    epoch = 1;
    number = 0;
    events = [];
    threads = new Map();
    stored = 0; // counts changes
    answers = 0;

    constructor() {
      for (let n = 0; n < FIRST; n++) this.add();
    }

    add() {
      const n = this.threads.size;
      const question = { id: `q${n}`, role: "user", index: 0, text: `question ${n}`, html: "", state: "done", turn: n * 100, epoch: 1, attachments: [] };
      this.threads.set(`t${n}`, { id: `t${n}`, n, name: "0", pinned: false, busy: false, deleted: false, branch: 0, turns: 0, messages: [question] });
    }

    push(name, key, data) {
      this.number++;
      if (key) this.events = this.events.filter((event) => event.key !== key);
      this.events.push({ number: this.number, name, key, data: clone(data) });
    }

    entry({ id, name, pinned, busy, n }) {
      return { id, name, pinned, busy, archived: false, active_at: n, answered_at: null, unread: false, preview: "", by_user: true };
    }

    line(thread) {
      const { id, name, busy, n, messages } = thread;
      return { id, channel: null, name, busy, created_at: `2026-01-0${n}`, epoch: 1, model: name, root: messages[0], replies: messages.length, entry: this.entry(thread), active_at: n, people: [] };
    }

    get newest() {
      return `${this.epoch + this.answers}-${this.number}`;
    }

    answer(path) {
      const url = new URL(path, "http://server");
      const shown = [...this.threads.values()].filter(({ deleted }) => !deleted).reverse();
      if (url.pathname === "/app/list") {
        const after = url.searchParams.get("after");
        const place = ({ pinned, n }) => pinned * 1_000 + n;
        const below = shown.sort((a, b) => place(b) - place(a)).filter((thread) => after === null || place(thread) < Number(after));
        const page = below.slice(0, 2);
        return { entries: page.map((thread) => this.entry(thread)), next: page.length === 2 ? String(place(page[1])) : null };
      }
      if (url.pathname === "/app/threads") {
        const before = url.searchParams.get("before");
        const limit = Number(url.searchParams.get("limit")) > 50 ? 3 : 2;
        const from = before === null ? 0 : shown.findIndex(({ id }) => id === before) + 1;
        const page = shown.slice(from, from + limit);
        return { threads: page.map((thread) => this.line(thread)).reverse(), next: page.length === limit ? page.at(-1).id : null };
      }
      const thread = this.threads.get(url.pathname.split("/").at(-1));
      if (thread.deleted) return null;
      const until = Number(url.searchParams.get("until") ?? 99);
      const messages = thread.messages.filter(({ index }) => index <= until);
      const later = messages.length < thread.messages.length;
      return { id: thread.id, channel: null, name: thread.name, entry: this.entry(thread), model: thread.name, epoch: 1, votes: null, messages, versions: {}, later };
    }
  }

  // ── one run ───────────────────────────────────────────────────────────────────────────────────
  async function run(steps) {
    const server = new Server();
    const requests = []; // each: { path, stage, resolve, reject, newest, found }
    const timers = new Map();
    const stream = { open: null, sent: 0, epoch: 0 };
    let made = 0;
    globalThis.setTimeout = (work, wait = 0) => (timers.set(++made, { work, wait }), made);
    globalThis.clearTimeout = (timer) => timers.delete(timer);
    globalThis.fetch = (path, { headers = {}, signal }) =>
      new Promise((resolve, reject) => {
        const request = { path, last: headers["Last-Event-ID"] ?? null, stage: 0, resolve, reject };
        requests.push(request);
        signal?.addEventListener("abort", () => {
          reject(new TypeError("aborted"));
          request.stage = 9;
          if (stream.open === request) cut();
        });
      });

    const state = new State();
    state.session = { user: "me", default_model: "m", channels: [] };
    const api = new Api({ onLocked: () => {} });
    const page = { state, api, context: { changed: () => {} } };
    const list = new ThreadList({ ask: (path) => sync.persist(() => api.get(path)), onChange: () => {} });
    const sync = new Sync({
      api, state,
      onEvent: (name, data, id) => {
        if (name === "message") state.takeMessage(data, id);
        else if (name === "reply" && data.thread === state.openId) state.takeReply(data, id);
        else if (name === "thread") (state.takeSummary(data, id), list.take(data.entry));
        else if (name === "entry") list.take(data);
        else if (name === "gone" && state.takeGone(data.id, id)) (list.remove(data.id), data.id === state.openId && (state.openId = null));
        else if (name === "branch") branchChanged(page, data, id);
      },
      onChange: () => {}, onLink: () => {}, onBack: () => {}, onRefresh: () => {},
      onThread: ({ entry }) => list.take(entry),
      onRefreshed: () => list.refresh(2),
      onMissing: () => (state.openId = null),
    });
    page.sync = sync;

    // ── the network ─────────────────────────────────────────────────────────────────────────────
    const encode = ({ number, name, data }) => `event: ${name}\nid: ${server.epoch}-${number}\ndata: ${JSON.stringify(data)}\n\n`;
    function cut() {
      const { open } = stream;
      stream.open = null;
      try {
        open?.controller.error(new TypeError("cut"));
      } catch {
        // The page has ended it.
      }
    }
    function connect(request) {
      cut();
      const [epoch, number] = (request.last ?? "0-0").split("-").map(Number);
      const known = request.last !== null && epoch === server.epoch;
      stream.open = request;
      stream.sent = known ? number : server.number;
      const body = new ReadableStream({ start: (controller) => (request.controller = controller) }, { highWaterMark: Number.POSITIVE_INFINITY });
      if (!known) request.controller.enqueue(new TextEncoder().encode(encode({ number: server.number, name: request.last === null ? "ready" : "refresh", data: {} })));
      request.resolve({ ok: true, status: 200, body, headers: new Headers() });
    }
    function deliver() {
      if (!stream.open) return;
      const newer = server.events.filter(({ number }) => number > stream.sent);
      if (newer.length) stream.open.controller.enqueue(new TextEncoder().encode(newer.map(encode).join("")));
      stream.sent = server.number;
    }
    /** A request arrives, is answered from the database, and its response arrives. */
    function advance(k, lost = false) {
      const request = requests[k %= requests.length];
      if (!request) return;
      if (request.stage === 9) requests.splice(k, 1);
      else if (lost) (requests.splice(k, 1), request.reject(new TypeError("lost")));
      else if (request.path.startsWith("/app/events")) (requests.splice(k, 1), connect(request));
      else if (request.stage === 0) [request.newest, request.stage] = [server.newest, 1];
      else if (request.stage === 1) [request.found, request.stage] = [clone(server.answer(request.path)), 2];
      else {
        requests.splice(k, 1);
        const found = request.found && { ...request.found, event: request.newest };
        request.resolve({ ok: Boolean(found), status: found ? 200 : 404, headers: new Headers(), json: async () => found ?? { error: "none" } });
      }
    }
    const tick = () => {
      for (const [timer, { work, wait }] of [...timers]) if (wait <= 5_000) (timers.delete(timer), work());
    };

    // ── what happens ────────────────────────────────────────────────────────────────────────────
    let isAway = false;
    let isOut = false;
    let here = true; // whether the process that writes is the one that the page is connected to
    const told = (thread, ...events) => {
      if (!here) return server.push("refresh", "refresh", {});
      for (const [name, key, data] of events) server.push(name, key, data);
      if (thread) server.push("thread", `thread-${thread.id}`, server.line(thread));
    };
    const of = (n) => {
      const there = [...server.threads.values()].filter(({ deleted }) => !deleted);
      return there[n % there.length];
    };
    const reply = (thread) => thread.messages.at(-1);
    const acts = {
      open: (n) => of(n) && ((state.openId = of(n).id), sync.readThread(of(n).id)),
      hit: (n) => of(n) && ((state.openId = of(n).id), sync.readThread(of(n).id, 1)),
      balance: () => (server.answers = server.answers ? 0 : 900), // another process answers requests
      enter: () => (state.enterChannel(null), sync.readChannel()),
      more: () => list.more(),
      older: () => state.older !== null && sync.loadOlder(() => {}),
      refresh: () => sync.refresh(),
      add: () => server.threads.size < 8 && (server.add(), told([...server.threads.values()].at(-1))),
      rename: (n) => of(n) && ((of(n).name = String(++server.stored)), told(of(n))),
      pin: (n) => of(n) && ((of(n).pinned = !of(n).pinned), told(null, ["entry", `entry-${of(n).id}`, server.entry(of(n))])),
      begin: (n) => {
        const thread = of(n);
        if (!thread || thread.busy) return;
        const index = thread.messages.length;
        const turn = thread.n * 100 + ++server.stored;
        thread.busy = true;
        const question = { id: `q${turn}`, role: "user", index, text: "more", html: "", state: "done", turn, epoch: 1, attachments: [] };
        thread.messages.push(question, { id: `turn-${turn}`, role: "assistant", index: index + 1, text: "", html: "", state: "writing" });
        told(thread, ["message", null, { thread: thread.id, ...question }], ["reply", `reply-${turn}`, { thread: thread.id, ...reply(thread) }]);
      },
      write: (n) => {
        const thread = of(n);
        if (!thread?.busy) return;
        reply(thread).text += "w";
        server.push("reply", `reply-${reply(thread).id}`, { thread: thread.id, ...reply(thread) });
      },
      end: (n) => {
        const thread = of(n);
        if (!thread?.busy) return;
        thread.busy = false;
        Object.assign(reply(thread), { state: "done", text: "the end" });
        told(thread, ["reply", `reply-${reply(thread).id}`, { thread: thread.id, ...reply(thread) }]);
      },
      again: (n) => {
        const thread = of(n);
        if (!thread || thread.busy || reply(thread).role === "user") return;
        thread.busy = true;
        const { index } = reply(thread);
        thread.messages[thread.messages.length - 1] = { id: `turn-${thread.n * 100 + ++server.stored}`, role: "assistant", index, text: "", html: "", state: "writing" };
        const [, , data] = ["reply", "", { thread: thread.id, ...reply(thread) }];
        told(thread, ["reply", `reply-${reply(thread).id}`, data], ["branch", null, { thread: thread.id, since: index }]);
      },
      delete: (n) => {
        const thread = of(n);
        if (!thread || thread.busy) return;
        thread.deleted = true;
        told(null, ["gone", `thread-${thread.id}`, { id: thread.id }]);
      },
      undo: () => {
        const thread = [...server.threads.values()].find(({ deleted }) => deleted);
        if (thread) ((thread.deleted = false), told(thread));
      },
      restart: () => {
        cut();
        [server.epoch, server.number, server.events] = [server.epoch + 1, 0, []];
      },
      elsewhere: () => (here = !here),
      look: () => sync.pause((isAway = !isAway)), // a hidden tab holds no connection
      leave: () => (sync.stop(), (isOut = true)), // the session has ended
      back: () => isOut && (sync.follow(), (isOut = false)),
      cut,
      deliver,
      advance: (n) => advance(n),
      lose: (n) => advance(n, true),
      tick,
    };

    sync.follow();
    const everything = async () => {
      for (let k = 0; k < 400; k++) {
        await settled();
        if (requests.length) advance(0);
        else if (stream.open && stream.sent !== server.number) deliver();
        else if ([...timers.values()].some(({ wait }) => wait <= 5_000)) tick();
        else return;
      }
      throw new Error("the page asks without end");
    };
    await everything();
    for (const [name, n] of steps) {
      acts[name](n);
      await settled();
    }
    if (isOut) sync.follow();
    sync.pause(false);
    await everything();
    const wrong = differences(server, state, list);
    sync.stop();
    await settled();
    return wrong;
  }

  /** What the page shows and the server does not have. */
  function differences(server, state, list) {
    const wrong = [];
    const shown = [...server.threads.values()].filter(({ deleted }) => !deleted);
    const ids = shown.map(({ id }) => id);
    for (const { id, thread } of state.channelItems([])) {
      const there = server.threads.get(id);
      if (!ids.includes(id)) wrong.push(`${id} is deleted, and in the channel`);
      else for (const field of ["name", "busy"]) if (thread[field] !== there[field]) wrong.push(`channel: ${id}.${field} is ${thread[field]}, not ${there[field]}`);
    }
    const inChannel = state.channelItems([]).map(({ id }) => id);
    const border = server.threads.get(state.older)?.n ?? 0;
    for (const { id, n } of shown) if (n >= border && !inChannel.includes(id)) wrong.push(`${id} is missing in the channel`);
    const inOrder = [...shown].sort((a, b) => b.pinned - a.pinned || b.n - a.n).map(({ id }) => id);
    const listed = list.entries.map(({ id }) => id);
    if (String(listed) !== String(list.hasMore ? inOrder.slice(0, listed.length) : inOrder)) wrong.push(`list: ${listed}, not ${inOrder}`);
    for (const id of ids) {
      const there = server.threads.get(id);
      const entry = listed.includes(id) || id === state.openId ? list.get(id) : null;
      for (const field of ["name", "busy", "pinned"]) if (entry && entry[field] !== there[field]) wrong.push(`list: ${id}.${field} is ${entry[field]}, not ${there[field]}`);
    }
    if (state.openId !== null) {
      const there = server.threads.get(state.openId);
      const told = (messages) => messages.map(({ id, text, state }) => `${id} ${text} ${state}`).join(", ");
      if (there.deleted) wrong.push(`${there.id} is deleted, and open`);
      else if (!state.open) wrong.push(`${there.id} is open, and not read`);
      else if (!state.open.later && told(state.open.messages) !== told(there.messages)) wrong.push(`open: ${told(state.open.messages)}; not ${told(there.messages)}`);
      else if (state.open.model !== there.name) wrong.push(`open: the model is ${state.open.model}, not ${there.name}`);
      if (!state.open?.later && state.isBusy !== there.busy) wrong.push(`open: busy is ${state.isBusy}, not ${there.busy}`);
    }
    return wrong;
  }

  // ── all runs ──────────────────────────────────────────────────────────────────────────────────
  const OFTEN = ["advance", "deliver", "open", "rename", "begin", "end", "pin", "more"];
  const RARE = ["hit", "enter", "balance", "older", "refresh", "add", "write", "again", "delete", "undo", "restart", "elsewhere", "cut", "lose", "tick", "look", "look", "leave", "back"];
  const NAMES = [...OFTEN, ...OFTEN, ...RARE, ...Array(12).fill("advance"), ...Array(5).fill("deliver")];
  const stepsOf = (seed) => {
    const next = random(seed);
    return Array.from({ length }, () => [NAMES[Math.floor(next() * NAMES.length)], Math.floor(next() * 4)]);
  };
  /** The same failure with fewer steps. */
  const shortest = async (steps) => {
    for (let k = 0; k < steps.length; ) {
      const fewer = steps.toSpliced(k, 1);
      if ((await run(fewer)).length) steps = fewer;
      else k++;
    }
    return { steps: steps.map((step) => step.join(" ")), wrong: await run(steps) };
  };
  try {
    if (only) return { steps: only, wrong: await run(only.map((step) => [step.split(" ")[0], Number(step.split(" ")[1] ?? 0)])) };
    for (const seed of seeds) {
      const steps = stepsOf(seed);
      if ((await run(steps)).length) return { seed, ...(await shortest(steps)) };
    }
    return null;
  } finally {
    Object.assign(globalThis, real);
  }
}
