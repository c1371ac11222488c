// The connections to one node, and which of them a key goes to.
//
// Invariants:
// - Connection `i` is on the core of the shard whose keys it takes, as far as there are enough.
// - All calls of a key take the same connection while it is open, so their order is kept.

import { Connection } from "./connection.js";
import { type ChatshardError, ClosedError, ConnectionError } from "./errors.js";
import type { HelloReply } from "./generated.js";
import type { Address, Settings } from "./options.js";
import { Pauses } from "./timing.js";
import { slotter } from "./xxh64.js";

/** Most connections to one node, if the options do not say how many. */
const CONNECTIONS_MAX = 16;

/** A place for a connection. */
interface Place {
  connection: Connection | undefined;
  opening: Promise<void> | undefined;
  /** When to try again after a failure. */
  notBefore: number;
  pauses: Pauses;
}

export class Pool {
  readonly address: Address;
  /** Runs when the pool has no connection any more. */
  onDead: (error: ChatshardError) => void = () => undefined;

  readonly #settings: Settings;
  readonly #opening = new Set<Connection>();
  #hello!: HelloReply;
  #places: Place[] = [];
  #slotOf: (key: string) => number = () => 0;
  #isClosed = false;

  constructor(address: Address, settings: Settings) {
    this.address = address;
    this.#settings = settings;
  }

  /** Opens the first connection. By its `hello` the pool knows how many it needs. */
  async open(): Promise<void> {
    const first = await this.#connect();
    this.#hello = first.hello;
    const { shards, slots, hashSeed } = first.hello;
    const wanted = this.#settings.connections ?? Math.min(shards, CONNECTIONS_MAX);
    // With more connections than shards, each shard gets the same number.
    const count = wanted > shards ? wanted - (wanted % shards) : wanted;
    for (let i = 0; i < count; i++) {
      const pauses = new Pauses();
      this.#places.push({ connection: undefined, opening: undefined, notBefore: 0, pauses });
    }
    this.#slotOf = slotter(hashSeed, slots);
    this.#put(this.#places[first.hello.shard % count]!, first);
  }

  /** Opens the other connections. One that fails is tried again when it is needed. */
  async fill(): Promise<void> {
    await Promise.all(this.#places.map((_, i) => this.#open(i)));
  }

  /** The connection for a key, or any open one; `undefined` if none is open. */
  pick(key: string | undefined): Connection | undefined {
    const places = this.#places;
    if (key === undefined) return this.#any();
    const at = places.length === 1 ? 0 : this.#placeOf(key);
    const connection = places[at]?.connection;
    if (connection !== undefined) return connection;
    void this.#open(at);
    return this.#any();
  }

  /** Ends the connections when their requests in flight have replies. */
  retire(): void {
    this.#leave((connection) => connection.retire());
  }

  /** Ends all connections now. */
  close(error: ChatshardError): void {
    this.#leave((connection) => connection.end(error));
  }

  #leave(how: (connection: Connection) => void): void {
    this.#isClosed = true;
    for (const connection of this.#opening) connection.end(new ClosedError());
    for (const place of this.#places) {
      const { connection } = place;
      place.connection = undefined;
      if (connection !== undefined) how(connection);
    }
  }

  #placeOf(key: string): number {
    const { shards } = this.#hello;
    const slot = this.#slotOf(key);
    const count = this.#places.length;
    const shard = slot % shards;
    if (count <= shards) return shard % count;
    return shard + shards * (Math.floor(slot / shards) % (count / shards));
  }

  /** The open connection with the fewest requests in flight. */
  #any(): Connection | undefined {
    let best: Connection | undefined;
    for (const { connection } of this.#places) {
      if (connection !== undefined && (best === undefined || connection.inFlight < best.inFlight)) {
        best = connection;
      }
    }
    return best;
  }

  /** Opens the connection of a place, if there is none. It never fails. */
  #open(at: number): Promise<void> | undefined {
    const place = this.#places[at];
    if (place === undefined || place.connection !== undefined || this.#isClosed) return undefined;
    if (performance.now() < place.notBefore) return undefined;
    place.opening ??= this.#openPlace(place, at).finally(() => (place.opening = undefined));
    return place.opening;
  }

  async #openPlace(place: Place, at: number): Promise<void> {
    try {
      const connection = await this.#connect(at % this.#hello.shards);
      if (this.#isOther(connection.hello)) this.#leaveFor(connection);
      else this.#put(place, connection);
      place.pauses.reset();
    } catch {
      place.notBefore = performance.now() + place.pauses.next();
    }
  }

  async #connect(shard?: number): Promise<Connection> {
    if (this.#isClosed) throw new ClosedError();
    const { connection, opened } = Connection.open(this.address, this.#settings, shard);
    this.#opening.add(connection);
    try {
      await opened;
    } finally {
      this.#opening.delete(connection);
    }
    // The pool may have been closed in between.
    if (!this.#isClosed) return connection;
    connection.end(new ClosedError());
    throw new ClosedError();
  }

  /** The node started anew with other shards, so keys have other places. */
  #isOther(hello: HelloReply): boolean {
    const { shards, slots, hashSeed } = this.#hello;
    return hello.shards !== shards || hello.slots !== slots || hello.hashSeed !== hashSeed;
  }

  #leaveFor(connection: Connection): void {
    const error = new ConnectionError(`${this.address.text}: the server started with other shards`);
    connection.end(error);
    this.close(error);
    this.onDead(error);
  }

  #put(place: Place, connection: Connection): void {
    place.connection = connection;
    connection.onEnd = (error) => {
      if (place.connection !== connection) return;
      place.connection = undefined;
      if (!this.#isClosed && this.#any() === undefined) this.#die(error);
    };
  }

  #die(error: ChatshardError): void {
    this.retire();
    this.onDead(error);
  }
}
