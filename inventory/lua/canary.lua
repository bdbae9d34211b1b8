-- canary.lua reads a server's canary and counts the look, or plants it, or marks
-- it whole. A canary is a small hash on each server with the fields
--
--   store   the UUID of the order store that planted it
--   format  FORMAT of the build that planted it: that of all the store has on the server
--   epoch   the life of the canary; each planting begins a newer one
--   whole   1 if all SKUs of the server were compared since it was planted, else 0
--
-- and a field b:<watcher> for each watcher that looked: how often it did since the
-- canary was planted. A look that finds a lower number than the watcher's last one left
-- there proves that the server went back in time.
--
-- KEYS[1]  the canary
-- ARGV[1]  store    of the caller; empty for a look that counts for nothing
-- ARGV[2]  watcher  of a look, 0 to 255
-- ARGV[3]  'look', 'plant' or 'whole'
-- ARGV[4]  store, and
-- ARGV[5]  epoch, of the canary as the caller saw it; empty and 0 for none. Any
--          other one stays as it is.
--
-- Returns {'canary', store, format, epoch, whole, beats, found} for a look, with an empty
-- store if there is none, or something else in its place; found are the beats before
-- the look, and beats those after it. Else it returns {'planted'} or {'kept'}.

local store, verb = ARGV[1], ARGV[3]
local watcher = whole(ARGV[2], 0, 255)
local seen = whole(ARGV[5], 0, BOUND)
if not store then return refuse('store is missing') end
if not watcher then return refuse('watcher is not a whole number from 0 to 255') end
if not seen then return refuse('epoch is not a whole number from 0 to 2^52') end

-- Asking for the type first, as HMGET on a key of another type ends the script.
local kind = redis.call('TYPE', KEYS[1])
if type(kind) == 'table' then kind = kind.ok end
local there = {store = '', format = 0, epoch = 0, all = 0, beats = 0}
local field = 'b:' .. ARGV[2]
if kind == 'hash' then
  local v = redis.call('HMGET', KEYS[1], 'store', 'format', 'epoch', 'whole', field)
  local read = {
    store = v[1], format = whole(v[2], 1, BOUND), epoch = whole(v[3], 1, BOUND), all = whole(v[4], 0, 1),
    beats = whole(v[5] or '0', 0, BOUND - 1),
  }
  if read.store and read.store ~= '' and read.format and read.epoch and read.all and read.beats then there = read end
end

if verb == 'look' then
  local found = there.beats
  if store ~= '' and there.store == store then
    -- A server that takes no writes at the moment is read all the same.
    local beat = redis.pcall('HSET', KEYS[1], field, digits(there.beats + 1))
    if type(beat) ~= 'table' or not beat.err then there.beats = there.beats + 1 end
  end
  return {'canary', there.store, there.format, there.epoch, there.all, there.beats, found}
end

if there.store ~= ARGV[4] or there.epoch ~= seen then return {'kept'} end
if verb == 'whole' then
  if there.store ~= store then return {'kept'} end
  redis.call('HSET', KEYS[1], 'whole', '1')
else
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'store', store, 'format', FORMAT,
    'epoch', digits(math.max(seen + 1, clock())), 'whole', '0')
end
return {'planted'}
