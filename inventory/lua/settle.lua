-- settle.lua drops deductions whose order is in Postgres (their units stay
-- taken), and brings Redis the current supply and terms. Without deductions it
-- is a push.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch      of the supply and of the deductions
-- ARGV[3]  version    of the supply and the terms
-- ARGV[4]  supply     units
-- ARGV[5]  admitted   units that Postgres committed through Redis in this epoch
-- ARGV[6]  customer_limit  units, 0 for none
-- ARGV[7]  opens_at        milliseconds, 0 for none
-- ARGV[8]  closes_at       milliseconds, 0 for none
-- ARGV[9]  paused          0 or 1
-- ARGV[10..] attempt, seq of each deduction
--
-- Returns {status, ...}:
--   {'settled', n}      n records were dropped; the supply is now at least this new
--   {'superseded'}      the hash is of a newer epoch: there is nothing left to do
--   {'unusable', why}   why is missing, foreign, of another format, garbage, behind (of an
--                       older epoch), or lost (fewer units taken than Postgres admitted)
--
-- Safe to repeat and to reorder: a record is dropped only if its seq is the
-- named one, and a supply replaces only an older one.

local store = ARGV[1]
local epoch = whole(ARGV[2], 1, BOUND)
local version = whole(ARGV[3], 1, BOUND)
local supply = whole(ARGV[4], -BOUND, BOUND)
local admitted = whole(ARGV[5], 0, BOUND)
if not epoch then return refuse('epoch is not a whole number from 1 to 2^52') end
if not version then return refuse('version is not a whole number from 1 to 2^52') end
if not supply then return refuse('supply is not a whole number within 2^52') end
if not admitted then return refuse('admitted is not a whole number from 0 to 2^52') end
local terms = {}
local fine, wrong = read_terms(terms, ARGV[6], ARGV[7], ARGV[8], ARGV[9])
if not fine then return refuse(wrong) end
if not whole_seqs(10) then return refuse('not every attempt has a whole seq from 1 to 2^52') end

local stock, why = read_stock(KEYS[1], store)
if not stock then return {'unusable', why} end
if stock.epoch > epoch then return {'superseded'} end
if stock.epoch < epoch then return {'unusable', 'behind'} end

local fields, units, left = named_deductions(KEYS[1], 10, stock)
if not fields then return {'unusable', 'garbage'} end

drop(KEYS[1], fields, left)
if units > 0 then
  redis.call('HSET', KEYS[1], 'unsettled', digits(stock.unsettled - units))
end
if version > stock.version then
  if supply > stock.supply and stock.supply <= stock.taken then
    redis.call('HSET', KEYS[1], 'reopened', digits(clock()))
  end
  redis.call('HSET', KEYS[1],
    'supply', digits(supply),
    'version', digits(version),
    'customer_limit', digits(terms.limit),
    'opens_at', digits(terms.opens_at),
    'closes_at', digits(terms.closes_at),
    'paused', digits(terms.paused))
end
if stock.taken < admitted then return {'unusable', 'lost'} end
return {'settled', #fields}
