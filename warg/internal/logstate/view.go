package logstate

import "github.com/entrepot/entrepot/warg"

// Head returns the last record's id and time; ok is false in an empty log.
func (c *Core[P]) Head() (id warg.RecordID, time warg.Timestamp, ok bool) {
	return c.head, c.time, c.hasHead
}

// Key returns the key with the given id. Keys are never forgotten, not even when
// all their permissions are revoked.
func (c *Core[P]) Key(id warg.KeyID) (warg.PublicKey, bool) { return c.keys.Value(id) }

// Keys returns all keys ever known, in the order they became known.
func (c *Core[P]) Keys() []warg.PublicKey { return c.keys.Values() }

// Can reports whether the key holds the permission now.
func (c *Core[P]) Can(id warg.KeyID, p P) bool {
	set, _ := c.permissions.Value(id)
	return set.Has(p)
}

// Permissions returns what the key holds now.
func (c *Core[P]) Permissions(id warg.KeyID) []P {
	set, _ := c.permissions.Value(id)
	return set.List()
}
