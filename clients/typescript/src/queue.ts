// The calls that wait for a place in flight, in their order.

/** What can wait. It may end while it waits. */
export interface Waiting {
  readonly isOver: boolean;
}

/** A queue whose items may end before their turn. Each step costs the same on average. */
export class Queue<T extends Waiting> {
  #items: T[] = [];
  #first = 0;
  #over = 0;

  get isEmpty(): boolean {
    return this.#first === this.#items.length;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the first item that is not over. */
  shift(): T | undefined {
    while (this.#first < this.#items.length) {
      const item = this.#items[this.#first++]!;
      if (item.isOver) {
        this.#over--;
        continue;
      }
      if (this.#first > 1024 && this.#first * 2 > this.#items.length) this.#compact();
      return item;
    }
    this.clear();
    return undefined;
  }

  /** Says that one of the items is over. */
  ended(): void {
    this.#over++;
    if (this.#over > 1024 && this.#over * 2 > this.#items.length - this.#first) this.#compact();
  }

  /** Takes all items that are not over. */
  clear(): T[] {
    const left = this.#items.slice(this.#first).filter((item) => !item.isOver);
    this.#items = [];
    this.#first = 0;
    this.#over = 0;
    return left;
  }

  #compact(): void {
    const left = this.clear();
    this.#items = left;
  }
}
