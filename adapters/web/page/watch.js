// The time limit of a request, which starts again with each piece of its response: a slow network is no
// broken one.
export class Watch {
  #abort = new AbortController();
  #timer = 0;

  /** `limit` is in milliseconds; `outer` may end the request, too. @param {number} limit @param {AbortSignal} [outer] */
  constructor(limit, outer) {
    this.limit = limit;
    outer?.addEventListener("abort", () => this.stop());
    this.alive();
  }

  get signal() {
    return this.#abort.signal;
  }

  /** The server gave a sign of life. */
  alive() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.stop(), this.limit);
  }

  /** End the request. */
  stop() {
    this.end();
    this.#abort.abort();
  }

  /** The request is over. */
  end() {
    clearTimeout(this.#timer);
  }

  /** The same response; each piece of its body is a sign of life. @param {Response} response */
  over(response) {
    this.alive();
    if (!response.body) return response;
    const pieces = new TransformStream({
      transform: (piece, out) => {
        this.alive();
        out.enqueue(piece);
      },
    });
    return new Response(response.body.pipeThrough(pieces), response);
  }
}
