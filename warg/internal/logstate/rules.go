package logstate

import "github.com/entrepot/entrepot/warg"

// Authorize fails unless the key holds p. That a log is not initialized is judged
// after that: nobody holds anything in it.
func (c *Core[P]) Authorize(id warg.KeyID, p P) error {
	if !c.Can(id, p) {
		return recordErr(warg.LabelUnauthorizedAction, "the key with ID %s did not have required permission %s", id, p)
	}
	return nil
}

// AuthorizeAll fails with the first of the permissions that the key lacks.
func (c *Core[P]) AuthorizeAll(id warg.KeyID, list []P) error {
	for _, p := range list {
		if err := c.Authorize(id, p); err != nil {
			return err
		}
	}
	return nil
}

// Initialized fails unless the log was initialized.
func (c *Core[P]) Initialized() error {
	if !c.initialized {
		return recordErr(warg.LabelFirstEntryIsNotInit, `the first entry of the log is not "init"`)
	}
	return nil
}

// Init applies an init entry: it makes key known and gives the signer all the
// permissions. Nothing says that they must be one; where they must, use InitOwn.
func (c *Core[P]) Init(signer warg.KeyID, key warg.PublicKey, all []P) error {
	if c.initialized {
		return recordErr(warg.LabelInitialEntryAfterBeginning, `a second "init" entry was found`)
	}
	c.initialized = true
	c.addKey(key)
	c.give(signer, all)
	return nil
}

// InitOwn is Init for a log whose first signer must be the owner of key.
func (c *Core[P]) InitOwn(signer warg.KeyID, key warg.PublicKey, all []P, logIs string) error {
	if !c.initialized && key.ID() != signer {
		return unknownKey(logIs)
	}
	return c.Init(signer, key, all)
}

// Grant applies a grant entry. Even one of no permissions makes the key known.
func (c *Core[P]) Grant(signer warg.KeyID, key warg.PublicKey, list []P) error {
	if err := c.AuthorizeAll(signer, list); err != nil {
		return err
	}
	c.addKey(key)
	c.give(key.ID(), list)
	return nil
}

// Revoke applies a revoke entry.
func (c *Core[P]) Revoke(signer, id warg.KeyID, list []P) error {
	if err := c.AuthorizeAll(signer, list); err != nil {
		return err
	}
	for _, p := range list {
		at, ok := c.permissions.Find(id)
		if !ok {
			return notHeld(id, p)
		}
		_, set := c.permissions.At(at)
		if set, ok = set.Without(p); !ok {
			return notHeld(id, p)
		}
		c.setPermissions(at, set)
	}
	return nil
}

func notHeld[P Permission](id warg.KeyID, p P) error {
	return recordErr(warg.LabelPermissionNotFoundToRevoke,
		"attempted to remove permission %s from key %s which did not have it", p, id)
}

func (c *Core[P]) addKey(key warg.PublicKey) {
	id := key.ID()
	if _, ok := c.keys.Find(id); !ok {
		c.keys.Add(id, key)
	}
}

func (c *Core[P]) give(id warg.KeyID, list []P) {
	at, ok := c.permissions.Find(id)
	if !ok {
		at = c.permissions.Len()
		c.permissions.Add(id, Set[P]{})
	}
	_, set := c.permissions.At(at)
	for _, p := range list {
		set = set.With(p)
	}
	c.setPermissions(at, set)
}

// setPermissions replaces a set and notes the old one for Undo.
func (c *Core[P]) setPermissions(at int, set Set[P]) {
	if _, old := c.permissions.At(at); old != set {
		c.changed = append(c.changed, change[P]{at, old})
		c.permissions.Set(at, set)
	}
}
