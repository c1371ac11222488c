// The times that the contract of all clients fixes, in milliseconds. Tests shorten them.

export const timing = {
  /** A connection with requests in flight that is silent for so long gets a ping, and then ends. */
  silence: 5_000,
  /** A watch that is silent for so long begins anew. */
  watchSilence: 30_000,
  /** The upper bound of the first pause before a repeat. It doubles each time. */
  pause: 50,
  /** The largest upper bound of a pause. */
  pauseMax: 2_000,
};

/** The pauses between attempts: random, up to a bound that doubles. */
export class Pauses {
  #bound = timing.pause;

  /** Returns the next pause in milliseconds. */
  next(): number {
    const pause = Math.random() * this.#bound;
    this.#bound = Math.min(this.#bound * 2, timing.pauseMax);
    return pause;
  }

  /** Begins with the shortest bound again. */
  reset(): void {
    this.#bound = timing.pause;
  }
}
