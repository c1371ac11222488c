// Iterators over commands that reply in pages.

import type { Since, SyncArguments, SyncReply } from "./generated.js";

/** A page with the cursor of the next one; null on the last. */
interface Page {
  nextCursor: string | null;
}

/** Asks for the page at a cursor; without one for the first page. */
type PageOf<P> = (at: { cursor?: string }) => Promise<P>;

/** All pages. */
export async function* pages<P extends Page>(pageOf: PageOf<P>): AsyncGenerator<P> {
  let page = await pageOf({});
  yield page;
  while (page.nextCursor !== null) {
    page = await pageOf({ cursor: page.nextCursor });
    yield page;
  }
}

/** The items of all pages. */
export async function* items<T>(
  pageOf: PageOf<Page & { items: T[] }>,
): AsyncGenerator<T> {
  for await (const page of pages(pageOf)) yield* page.items;
}

/** All pages of a change log. */
export async function* changes(
  first: SyncArguments,
  pageOf: (a: SyncArguments) => Promise<SyncReply>,
): AsyncGenerator<SyncReply> {
  let page = await pageOf(first);
  yield page;
  while (page.more) {
    const since: Since = { log: page.log, version: page.version };
    page = await pageOf({ ...first, since });
    yield page;
  }
}
