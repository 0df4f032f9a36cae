package compress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"

	"github.com/stepd/stepd/sdk"
)

// encryptionAge is the one kind of encryption there is, as manifests name it;
// also the extension of such archives.
const encryptionAge = "age"

// ageMagic begins each encrypted archive.
const ageMagic = "age-encryption.org/v1\n"

// recipients are the public keys of the settings. None: nothing is encrypted.
func (s CreateSettings) recipients(info sdk.Info) ([]age.Recipient, error) {
	var list []age.Recipient
	for i, text := range s.Recipients {
		one, err := recipient(text)
		if err != nil {
			return nil, fmt.Errorf("recipients: number %d %w", i+1, err)
		}
		list = append(list, one)
	}
	if s.RecipientsFile != "" {
		path := info.Path(s.RecipientsFile)
		content, err := readKeys("recipients_file", path, 0o002)
		if err != nil {
			return nil, err
		}
		before := len(list)
		for i, line := range strings.Split(string(content), "\n") {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			one, err := recipient(line)
			if err != nil {
				return nil, fmt.Errorf("recipients_file: line %d of %s %w", i+1, path, err)
			}
			list = append(list, one)
		}
		if len(list) == before {
			return nil, fmt.Errorf("recipients_file: there is no recipient in %s, so that the archive would not be encrypted", path)
		}
	}
	if len(list) > 0 {
		// Keys that do not go together are found before there is any work.
		w, err := age.Encrypt(io.Discard, list...)
		if err != nil {
			return nil, fmt.Errorf("recipients: %w", err)
		}
		return list, w.Close()
	}
	return nil, nil
}

// recipient never repeats the text in an error: it may be a secret key that
// somebody has put there.
func recipient(text string) (age.Recipient, error) {
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-"), strings.HasPrefix(text, "-----BEGIN"):
		return nil, errors.New("is a secret key: give the public key that belongs to it, and make a new pair, as this one was seen")
	case strings.HasPrefix(text, "ssh-"):
		if one, err := agessh.ParseRecipient(text); err == nil {
			return one, nil
		}
		return nil, errors.New("is no ssh-ed25519 or ssh-rsa public key (of 2048 bits at least)")
	}
	if list, err := age.ParseRecipients(strings.NewReader(text)); err == nil && len(list) == 1 {
		return list[0], nil
	}
	return nil, errors.New("is no public key: give one that begins with age1, ssh-ed25519 or ssh-rsa")
}

// identities are the secret keys of a file, which nobody else may read.
func identities(info sdk.Info, file string) ([]age.Identity, error) {
	if file == "" {
		return nil, nil
	}
	path := info.Path(file)
	content, err := readKeys("identity_file", path, 0o077)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(content, []byte("-----BEGIN OPENSSH")) || bytes.HasPrefix(content, []byte("-----BEGIN RSA")) {
		one, err := agessh.ParseIdentity(content)
		var locked *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			return nil, fmt.Errorf("identity_file: the ssh key %s has a passphrase, which nobody is there to type", path)
		case err != nil:
			return nil, fmt.Errorf("identity_file: %s is no ed25519 or rsa secret key", path)
		}
		return []age.Identity{one}, nil
	}
	if bytes.HasPrefix(content, []byte(ageMagic)) || bytes.HasPrefix(content, []byte("-----BEGIN AGE ENCRYPTED FILE")) {
		return nil, fmt.Errorf("identity_file: %s has a passphrase, which nobody is there to type", path)
	}
	list, err := age.ParseIdentities(bytes.NewReader(content))
	if err != nil { // says what is wrong in its own words, which need not keep secrets
		return nil, fmt.Errorf("identity_file: %s is not a file of secret keys (AGE-SECRET-KEY-1..., or an ssh key)", path)
	}
	return list, nil
}

// readKeys reads a small file whose mode has none of the bits.
func readKeys(setting, path string, refused fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	const limit = 1 << 20
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s: %s is not a file", setting, path)
	case mode.Perm()&refused != 0 && refused&0o004 != 0:
		return nil, fmt.Errorf("%s: others may read %s (mode %04o): chmod 600 %s", setting, path, mode.Perm(), path)
	case mode.Perm()&refused != 0:
		return nil, fmt.Errorf("%s: everybody may write to %s, and so add a key (mode %04o): chmod o-w %s", setting, path, mode.Perm(), path)
	case info.Size() > limit:
		return nil, fmt.Errorf("%s: %s has %s, which is no file of keys", setting, path, sdk.Bytes(info.Size()))
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// errLocked: the archive is encrypted and there is no key.
var errLocked = errors.New("it is encrypted: set identity_file")

// decrypt opens what is encrypted for one of the keys.
func decrypt(r io.Reader, keys []age.Identity) (io.Reader, error) {
	if len(keys) == 0 {
		return nil, sdk.Permanent(errLocked)
	}
	plain, err := age.Decrypt(r, keys...)
	var others *age.NoIdentityMatchError
	if errors.As(err, &others) {
		return nil, damaged("no key of identity_file opens it: it was made for others, or its head is damaged")
	}
	return plain, err
}

// isEncrypted looks at how the archive begins.
func isEncrypted(archive string) (bool, error) {
	f, err := os.Open(archive)
	if err != nil {
		return false, fmt.Errorf("open archive: %w", err)
	}
	defer f.Close()
	head := make([]byte, len(ageMagic))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, fmt.Errorf("read archive: %w", err)
	}
	return string(head[:n]) == ageMagic, nil
}

// checkSeal compares an archive's size and hash with the manifest beside it:
// all that can be told of an encrypted one without a key. Differences are a
// *damage; no manifest is one too.
func checkSeal(ctx context.Context, archive string, progress func(done, total float64)) (Manifest, error) {
	side, err := os.Open(sidePath(archive))
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, damaged("it is encrypted and there is no manifest beside it, so only identity_file can tell how it is")
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("open the manifest beside the archive: %w", err)
	}
	defer side.Close()
	m, err := readManifest(side, func(Entry) error { return nil })
	if err != nil {
		return m, damaged("the manifest beside it: %v", err)
	}
	if m.Archive == nil {
		return m, damaged("the manifest beside it does not speak of the archive")
	}
	file, err := os.Open(archive)
	if err != nil {
		return m, fmt.Errorf("open archive: %w", err)
	}
	defer file.Close()
	digest, err := digestOf(ctxReader{ctx, file}, func(done int64) { progress(float64(done), float64(m.Archive.Bytes)) })
	if ctx.Err() != nil {
		return m, context.Cause(ctx)
	}
	if err != nil {
		return m, fmt.Errorf("read archive: %w", err)
	}
	if digest != *m.Archive {
		return m, damaged("%s", notAsMade(digest, *m.Archive))
	}
	return m, nil
}
