package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

type keyCmd struct {
	New keyNewCmd `cmd:"" help:"Make a private key file."`
	ID  keyIDCmd  `cmd:"" name:"id" help:"Show the public key and key id of a key file."`
	Of  keyOfCmd  `cmd:"" help:"Show the operator key that a registry presents."`
}

type keyNewCmd struct {
	jsonFlag
	Out string `placeholder:"FILE" help:"Where to write it. Default: the key that publish uses, $XDG_CONFIG_HOME/entrepot/publish.key."`
}

func (keyNewCmd) Help() string {
	return `The file is readable by its owner alone and never overwrites another.

Example:

    entrepot key new --out operator.key
`
}

// shownKey is a public key as commands print it.
type shownKey struct {
	KeyID     warg.KeyID `json:"keyId"`
	PublicKey string     `json:"publicKey"`
	File      string     `json:"file,omitempty"`
}

func showKey(key warg.PublicKey, file string) shownKey {
	return shownKey{key.ID(), key.String(), file}
}

func (k shownKey) write(w io.Writer) {
	if k.File != "" {
		fmt.Fprintf(w, "file\t%s\n", k.File)
	}
	fmt.Fprintf(w, "key id\t%s\n", k.KeyID)
	fmt.Fprintf(w, "public key\t%s\n", k.PublicKey)
}

func (c keyNewCmd) Run(p *process) error {
	file, shown := p.path(c.Out), c.Out
	if c.Out == "" {
		var err error
		if file, err = p.publishKeyFile(); err != nil {
			return fmt.Errorf("choosing a place for the key: %w; name one with --out FILE", err)
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("making a folder for the key: %w", err)
		}
		shown = file
	}
	key, err := createKey(file)
	if err != nil {
		return err
	}
	result := showKey(key.Public(), shown)
	return p.print(c.jsonFlag, result, result.write)
}

// publishKeyFile is where the key for publishing is looked for if none is named.
func (p *process) publishKeyFile() (string, error) {
	folder, err := p.configFolder()
	return filepath.Join(folder, "publish.key"), err
}

// createKey makes a key and writes it to a new file. There is no line break at
// the end, since the reference server and client take it as part of the key.
func createKey(file string) (warg.PrivateKey, error) {
	key, err := warg.GenerateKey()
	if err != nil {
		return key, err
	}
	if err := createFile(file, []byte(key.Text())); err != nil {
		return key, fmt.Errorf("writing a new key: %w", err)
	}
	return key, nil
}

// createFile writes a new file that its owner alone can read, and waits until it
// is on disk. It never overwrites, and leaves nothing behind if it fails.
func createFile(name string, text []byte) error {
	fsys := durable.OS{}
	f, err := fsys.Create(name)
	switch {
	case errors.Is(err, os.ErrExist):
		return exitf(exitFailed, "%s exists already and is not overwritten", name)
	case err != nil:
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(name))
	}
	return fsys.SyncDir(filepath.Dir(name))
}

type keyIDCmd struct {
	jsonFlag
	File string `arg:"" help:"File with a private or public key."`
}

func (keyIDCmd) Help() string {
	return "Example:\n\n    entrepot key id operator.key\n"
}

func (c keyIDCmd) Run(p *process) error {
	text, err := readKeyText(p.path(c.File))
	if err != nil {
		return err
	}
	public, err := warg.ParsePublicKey(text)
	if err != nil {
		private, privateErr := warg.ParsePrivateKey(text)
		if privateErr != nil {
			return fmt.Errorf("reading key file %s: it holds neither a private key (%w) nor a public key (%w)", c.File, privateErr, err)
		}
		public = private.Public()
	}
	result := showKey(public, "")
	return p.print(c.jsonFlag, result, result.write)
}
