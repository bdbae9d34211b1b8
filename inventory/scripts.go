package inventory

import (
	"embed"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var sources embed.FS

// The scripts, one file each. redis.Script sends EVALSHA and falls back to EVAL
// where Redis doesn't know the script, as after a restart or SCRIPT FLUSH.
var (
	deductScript    = script("deduct")
	acceptScript    = script("accept")
	settleScript    = script("settle")
	restoreScript   = script("restore")
	loadScript      = script("load")
	unsettledScript = script("unsettled")
	stockScript     = script("stock")
	canaryScript    = script("canary")
	removeScript    = script("remove")
)

func script(name string) *redis.Script { return redis.NewScript(whole(name)) }

// whole is a script as it is sent, with the prelude in front.
func whole(name string) string { return source("prelude") + source(name) }

func source(name string) string {
	text, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the file is not in the build
	}
	return string(text)
}
