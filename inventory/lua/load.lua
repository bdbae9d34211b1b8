-- load.lua begins a fresh hash, with nothing taken, for a new epoch.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch
-- ARGV[3]  version of the supply
-- ARGV[4]  supply, units
-- ARGV[5]  customer_limit  units, 0 for none
-- ARGV[6]  opens_at        milliseconds, 0 for none
-- ARGV[7]  closes_at       milliseconds, 0 for none
-- ARGV[8]  paused          0 or 1
--
-- Returns {'loaded'}, or {'kept'} if the hash is of this epoch or a newer one.
--
-- Safe to repeat, as a hash is only replaced by a newer epoch; what is missing,
-- garbage or another store's is replaced at once.

local store = ARGV[1]
local epoch = whole(ARGV[2], 1, BOUND)
local version = whole(ARGV[3], 1, BOUND)
local supply = whole(ARGV[4], -BOUND, BOUND)
if not store or store == '' then return refuse('store is empty') end
if not epoch then return refuse('epoch is not a whole number from 1 to 2^52') end
if not version then return refuse('version is not a whole number from 1 to 2^52') end
if not supply then return refuse('supply is not a whole number within 2^52') end
local terms = {}
local fine, wrong = read_terms(terms, ARGV[5], ARGV[6], ARGV[7], ARGV[8])
if not fine then return refuse(wrong) end

-- Asking for the type first, as HMGET on a key of another type ends the script.
local kind = redis.call('TYPE', KEYS[1])
if type(kind) == 'table' then kind = kind.ok end
if kind == 'hash' then
  local stock = read_stock(KEYS[1], store)
  if stock and stock.epoch >= epoch then return {'kept'} end
end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1],
  'store', store,
  'epoch', digits(epoch),
  'supply', digits(supply),
  'version', digits(version),
  'taken', '0',
  'seq', '0',
  'unsettled', '0',
  'customer_limit', digits(terms.limit),
  'opens_at', digits(terms.opens_at),
  'closes_at', digits(terms.closes_at),
  'paused', digits(terms.paused))
return {'loaded'}
