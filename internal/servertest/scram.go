package servertest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// scramVerifier is what PostgreSQL stores of a password (RFC 5803), which it takes in
// the place of the password. One iteration is enough for a random one, and a process
// with the race detector takes eight milliseconds for the 4,096 of the default, on each
// connection.
func scramVerifier(password string) (string, error) {
	const iterations = 1
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", err
	}
	stored := sha256.Sum256(digest(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(digest(salted, "Server Key"))), nil
}

func digest(key []byte, text string) []byte {
	of := hmac.New(sha256.New, key)
	of.Write([]byte(text))
	return of.Sum(nil)
}
