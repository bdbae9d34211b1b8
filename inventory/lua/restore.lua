-- restore.lua gives back the units of deductions that no order consumed and
-- none ever can: Postgres refused, replaced or fenced them.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch of the deductions
-- ARGV[3]  1 if they are known to be of accepted orders that are done with, 0 if
--          those of accepted orders are passed over
-- ARGV[4..] attempt, seq of each deduction
--
-- Returns {status, ...}:
--   {'restored', n}     n records were dropped and their units given back
--   {'superseded'}      the hash is of another epoch, in which they are void
--   {'unusable', why}   why is missing, foreign, of another format or garbage
--
-- Safe to repeat: a record is restored only if its seq is the named one.

local store = ARGV[1]
local epoch = whole(ARGV[2], 1, BOUND)
if not epoch then return refuse('epoch is not a whole number from 1 to 2^52') end
local accepted = whole(ARGV[3], 0, 1)
if not accepted then return refuse('accepted is neither 0 nor 1') end
if not whole_seqs(4) then return refuse('not every attempt has a whole seq from 1 to 2^52') end

local stock, why = read_stock(KEYS[1], store)
if not stock then return {'unusable', why} end
if stock.epoch ~= epoch then return {'superseded'} end

local fields, units, left = named_deductions(KEYS[1], 4, stock, accepted == 0)
if not fields then return {'unusable', 'garbage'} end

drop(KEYS[1], fields, left)
if units > 0 then
  redis.call('HSET', KEYS[1], 'taken', digits(stock.taken - units), 'unsettled', digits(stock.unsettled - units))
end
return {'restored', #fields}
