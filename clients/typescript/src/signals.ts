// One listener for each `AbortSignal`, however many calls share it.

const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Runs `run` when the signal aborts, unless {@link offAbort} comes first. */
export function onAbort(signal: AbortSignal | undefined, run: () => void): void {
  if (signal === undefined) return;
  let all = waiting.get(signal);
  if (all === undefined) {
    const made = new Set<() => void>();
    const runAll = () => [...made].forEach((one) => one());
    signal.addEventListener("abort", runAll, { once: true });
    waiting.set(signal, made);
    all = made;
  }
  all.add(run);
}

/** `run` is not to run any more. */
export function offAbort(signal: AbortSignal | undefined, run: () => void): void {
  if (signal !== undefined) waiting.get(signal)?.delete(run);
}
