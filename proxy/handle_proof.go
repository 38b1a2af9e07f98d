package proxy

import "github.com/entrepot/entrepot/warg/api"

// consistency answers OpConsistency.
func (c *call) consistency() error {
	text, err := c.text()
	if err != nil {
		return err
	}
	from, to, err := api.ParseConsistencyRequest(text)
	if err != nil {
		return err
	}
	ctx, cancel := c.context(answerTime)
	defer cancel()
	bundle, err := c.registry.Consistency(ctx, from, to)
	if err != nil {
		return err
	}
	c.json(func(dst []byte) []byte { return api.AppendConsistency(dst, bundle) })
	return nil
}

// inclusion answers OpInclusion.
func (c *call) inclusion() error {
	text, err := c.text()
	if err != nil {
		return err
	}
	length, leaves, err := api.ParseInclusionRequest(text)
	if err != nil {
		return err
	}
	end, err := c.queue(len(leaves))
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := c.context(answerTime)
	defer cancel()
	proof, err := c.registry.Inclusion(ctx, length, leaves)
	if err != nil {
		return err
	}
	c.json(func(dst []byte) []byte { return api.AppendInclusion(dst, proof) })
	return nil
}

// verify answers OpVerify.
func (c *call) verify() error {
	text, err := c.text()
	if err != nil {
		return err
	}
	signed, err := api.ParseVerifyRequest(text)
	if err != nil {
		return err
	}
	ctx, cancel := c.context(answerTime)
	defer cancel()
	v, err := c.registry.VerifyCheckpoint(ctx, signed)
	if err != nil {
		return err
	}
	c.json(func(dst []byte) []byte { return api.AppendVerification(dst, v) })
	return nil
}
