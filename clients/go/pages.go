package chatshard

import "context"

// pageLimit is the size of the pages of ListPages if the arguments have none: without a limit the
// server would reply with all rows at once.
const pageLimit = 200

// Pages are the pages of a read, one request for each:
//
//	pages := client.MembersPages(chatshard.MembersArgs{ChatID: "g_team"})
//	for pages.Next(ctx) {
//		for _, member := range pages.Page().Items {
//		}
//	}
//	if err := pages.Err(); err != nil {
//	}
type Pages[R any] struct {
	fetch func(ctx context.Context) (page *R, hasMore bool, err error)
	page  *R
	err   error
	isEnd bool
}

// Next asks for the next page. It returns false behind the last one, and after an error. The
// context bounds this request.
func (p *Pages[R]) Next(ctx context.Context) bool {
	if p.isEnd {
		return false
	}
	page, hasMore, err := p.fetch(ctx)
	p.page, p.err, p.isEnd = page, err, err != nil || !hasMore
	return err == nil
}

// Page returns the page that Next found.
func (p *Pages[R]) Page() *R {
	return p.page
}

// Err returns the error that ended the pages; nil if there was none.
func (p *Pages[R]) Err() error {
	return p.err
}

// All is for range over functions, in modules of Go 1.23 or newer:
//
//	for page, err := range pages.All(ctx) {
//	}
func (p *Pages[R]) All(ctx context.Context) func(yield func(*R, error) bool) {
	return func(yield func(*R, error) bool) {
		for p.Next(ctx) {
			if !yield(p.page, nil) {
				return
			}
		}
		if p.err != nil {
			yield(nil, p.err)
		}
	}
}

// cursorPages makes the pages of a command that takes the cursor of the page before.
func cursorPages[R any](
	cursor *string, call func(ctx context.Context) (*R, error), next func(*R) string,
) *Pages[R] {
	return &Pages[R]{fetch: func(ctx context.Context) (*R, bool, error) {
		page, err := call(ctx)
		if err != nil {
			return nil, false, err
		}
		*cursor = next(page)
		return page, *cursor != "", nil
	}}
}

// ListPages returns the rows of a user in pages, of 200 if the arguments have no limit.
func (c *Client) ListPages(args ListArgs) *Pages[ListReply] {
	if args.Limit == 0 {
		args.Limit = pageLimit
	}
	call := func(ctx context.Context) (*ListReply, error) { return c.List(ctx, args) }
	next := func(page *ListReply) string { return page.NextCursor }
	return cursorPages(&args.Cursor, call, next)
}

// ConversationsPages returns the conversations of a user in pages. If Moved of a page is set,
// conversations before it have changed their places.
func (c *Client) ConversationsPages(args ConversationsArgs) *Pages[ConversationsReply] {
	call := func(ctx context.Context) (*ConversationsReply, error) {
		return c.Conversations(ctx, args)
	}
	next := func(page *ConversationsReply) string { return page.NextCursor }
	return cursorPages(&args.Cursor, call, next)
}

// MembersPages returns the members of a chat in pages.
func (c *Client) MembersPages(args MembersArgs) *Pages[MembersReply] {
	call := func(ctx context.Context) (*MembersReply, error) { return c.Members(ctx, args) }
	next := func(page *MembersReply) string { return page.NextCursor }
	return cursorPages(&args.Cursor, call, next)
}

// ExportPages returns everything in pages, in the form that Import takes.
func (c *Client) ExportPages(args ExportArgs) *Pages[ExportReply] {
	call := func(ctx context.Context) (*ExportReply, error) { return c.Export(ctx, args) }
	next := func(page *ExportReply) string { return page.NextCursor }
	return cursorPages(&args.Cursor, call, next)
}

// SyncPages returns what changed in the list of a user, in pages. Take the items of a page, and
// store its Log and Version with them: they are Since of the next time. If Reset is set, forget all
// rows before.
func (c *Client) SyncPages(args SyncArgs) *Pages[SyncReply] {
	return &Pages[SyncReply]{fetch: func(ctx context.Context) (*SyncReply, bool, error) {
		page, err := c.Sync(ctx, args)
		if err != nil {
			return nil, false, err
		}
		args.Since = &Since{Log: page.Log, Version: page.Version}
		return page, page.More, nil
	}}
}
