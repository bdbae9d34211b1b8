-- load.lua begins a fresh hash for a new epoch. Nothing is taken in it but what
-- accepted orders had: those are still to be committed, so their units are
-- deducted anew at once, whether or not the supply is enough for them. Nobody can
-- buy these units from under them, and Postgres decides.
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
-- ARGV[9]  replaces        an epoch above this one that Postgres never began, 0 for none
--
-- Returns {'loaded'}, or {'kept'} if the hash is of this epoch or a newer one, other
-- than the one that it replaces.
--
-- Safe to repeat, as a hash is only replaced by a newer epoch, or is gone with the epoch
-- that it replaces; what is missing,
-- garbage, another store's or of another format is replaced at once.

local store = ARGV[1]
local epoch = whole(ARGV[2], 1, BOUND)
local version = whole(ARGV[3], 1, BOUND)
local supply = whole(ARGV[4], -BOUND, BOUND)
if not store or store == '' then return refuse('store is empty') end
if not epoch then return refuse('epoch is not a whole number from 1 to 2^52') end
if not version then return refuse('version is not a whole number from 1 to 2^52') end
if not supply then return refuse('supply is not a whole number within 2^52') end
local replaces = whole(ARGV[9] or '0', 0, BOUND)
if not replaces or replaces > 0 and replaces <= epoch then
  return refuse('replaces is neither 0 nor a whole number above the epoch to 2^52')
end
local terms = {}
local fine, wrong = read_terms(terms, ARGV[5], ARGV[6], ARGV[7], ARGV[8])
if not fine then return refuse(wrong) end

-- Asking for the type first, as HMGET on a key of another type ends the script.
local kind = redis.call('TYPE', KEYS[1])
if type(kind) == 'table' then kind = kind.ok end
local taken, seq, kept = 0, 0, {} -- of accepted orders; their fields and values
-- Whether others may have been told that it is sold out: what was lost may have
-- been, unless it was only just put on sale.
local reopening = version > 2
if kind == 'hash' then
  local stock = read_stock(KEYS[1], store)
  if stock then reopening = stock.supply <= stock.taken end
  if stock and stock.epoch >= epoch and stock.epoch ~= replaces then return {'kept'} end
  local cursor, seen = '0', {}
  local format = value_of(KEYS[1], 'format') or FORMAT -- the first one came without
  repeat
    local page = {'0', {}}
    if format == FORMAT and value_of(KEYS[1], 'store') == store and value_of(KEYS[1], 'accepting') then
      page = redis.call('HSCAN', KEYS[1], cursor, 'MATCH', 'a:*', 'COUNT', '1000')
    end
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local attempt, order = string.sub(page[2][i], 3), page[2][i + 1]
      local value = value_of(KEYS[1], 'd:' .. attempt)
      local deduction = value and parse_deduction(value) -- what is garbage is lost
      if deduction and not seen[attempt] and deduction.quantity <= MAX_QUANTITY then
        seen[attempt] = true
        taken, seq = taken + deduction.quantity, seq + 1
        kept[#kept + 1] = 'd:' .. attempt
        kept[#kept + 1] = digits(seq) .. ':' .. digits(deduction.quantity) .. ':' .. digits(deduction.version) .. ':'
          .. digits(deduction.at) .. ':0:' .. deduction.order
        kept[#kept + 1] = 'a:' .. attempt
        kept[#kept + 1] = order
      end
    end
  until cursor == '0'
end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1],
  'format', FORMAT,
  'store', store,
  'epoch', digits(epoch),
  'supply', digits(supply),
  'version', digits(version),
  'taken', digits(taken),
  'seq', digits(seq),
  'unsettled', digits(taken),
  'customer_limit', digits(terms.limit),
  'opens_at', digits(terms.opens_at),
  'closes_at', digits(terms.closes_at),
  'paused', digits(terms.paused))
if reopening then
  redis.call('HSET', KEYS[1], 'reopened', digits(clock()))
end
if #kept > 0 then redis.call('HSET', KEYS[1], 'accepting', '1') end
change('HSET', KEYS[1], kept)
return {'loaded'}
