// Which of several nodes to connect to.

import { type Address, parseAddress, type Settings } from "./options.js";
import { timing } from "./timing.js";

function isOther(than: { text: string }): (address: Address) => boolean {
  return (address) => address.text !== than.text;
}

/** The nodes of the options, and what is known of them. */
export class Nodes {
  readonly #settings: Settings;
  #next = 0;
  #named: Address | undefined;
  #silent: { text: string; until: number } | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Whether there is another node than the one that failed. */
  get areSeveral(): boolean {
    return this.#settings.addresses.length > 1;
  }

  /** The addresses in the order in which to try them. One that was silent just now is last. */
  order(): Address[] {
    const { addresses } = this.#settings;
    const from = this.#next % addresses.length;
    const named = this.#named;
    this.#named = undefined;
    const others = [...addresses.slice(from), ...addresses.slice(0, from)];
    const all = named === undefined ? others : [named, ...others.filter(isOther(named))];
    const silent = this.#silent;
    if (silent === undefined || silent.until < performance.now()) return all;
    return [...all.filter(isOther(silent)), ...all.filter((a) => a.text === silent.text)];
  }

  /** The next node is to be tried first. */
  advance(): void {
    this.#next++;
  }

  /** A server named the active. Returns whether the client may go there. */
  name(text: string): boolean {
    if (text === "" || !this.#mayKnowTheToken(text)) return false;
    try {
      this.#named = parseAddress(text);
      return true;
    } catch {
      return false;
    }
  }

  /** A node did not say a word in time. */
  silent(address: Address): void {
    this.#silent = { text: address.text, until: performance.now() + timing.silence };
  }

  /** A token goes to an address of the options, or to a server that TLS verifies. */
  #mayKnowTheToken(text: string): boolean {
    const { addresses, tls, token } = this.#settings;
    // TLS verifies nobody on a unix socket.
    const isVerified = tls !== undefined && !text.startsWith("unix:");
    return token === undefined || isVerified || addresses.some((a) => a.text === text);
  }
}
