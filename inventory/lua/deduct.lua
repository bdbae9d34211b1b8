-- deduct.lua takes units for an attempt.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch that the caller knows of, 0 for none
-- ARGV[3]  the highest seq that the caller knows to be granted in that epoch
-- ARGV[4]  deadline by Redis's clock in milliseconds, 0 for none
-- ARGV[5]  attempt
-- ARGV[6]  quantity
-- ARGV[7]  order ID
--
-- Returns {status, now, ...}:
--   {'deducted', now, epoch, seq, version, at}
--   {'short', now, epoch, version, available, unsettled}   nothing was taken
--   {'late', now}                                          nothing was taken
--   {'unusable', now, why}       why is missing, foreign, garbage, behind or spent
--
-- Safe to repeat while the deduction is unsettled: the attempt finds its own
-- record and gets the same deduction again. A copy that arrives after it was
-- settled or restored takes units again, but under a seq of its own, which no
-- order consumed: the sweep gives them back.

local store, attempt, order = ARGV[1], ARGV[5], ARGV[7]
local known_epoch = whole(ARGV[2], 0, BOUND)
local known_seq = whole(ARGV[3], 0, BOUND)
local deadline = whole(ARGV[4], 0, BOUND)
local quantity = whole(ARGV[6], 1, 1000000)
if not known_epoch then return refuse('epoch is not a whole number from 0 to 2^52') end
if not known_seq then return refuse('seq is not a whole number from 0 to 2^52') end
if not deadline then return refuse('deadline is not a whole number from 0 to 2^52') end
if not quantity then return refuse('quantity is not a whole number from 1 to 1000000') end
if not attempt or attempt == '' or not order or order == '' then return refuse('attempt or order is empty') end

local now = clock()
local stock, why = read_stock(KEYS[1], store)
if not stock then return {'unusable', now, why} end

-- Counters that are behind what the caller saw were lost and came back old.
if stock.epoch < known_epoch or (stock.epoch == known_epoch and stock.seq < known_seq) then
  return {'unusable', now, 'behind'}
end

local deduction, garbage = read_deduction(KEYS[1], attempt)
if garbage then return {'unusable', now, 'garbage'} end
if deduction then
  if deduction.order ~= order or deduction.quantity ~= quantity then
    return refuse('the attempt is on record with another order or quantity')
  end
  return {'deducted', now, stock.epoch, deduction.seq, deduction.version, deduction.at}
end

if deadline > 0 and now > deadline then return {'late', now} end
if stock.supply - stock.taken < quantity then
  -- A replica, or a master that lost its replicas, may be behind: only who may
  -- write may refuse. This field isn't there, so that nothing is written.
  redis.call('HDEL', KEYS[1], 'd:' .. attempt)
  return {'short', now, stock.epoch, stock.version, stock.supply - stock.taken, stock.unsettled}
end
if stock.seq >= BOUND or stock.taken + quantity > BOUND then return {'unusable', now, 'spent'} end

local seq = stock.seq + 1
redis.call('HSET', KEYS[1],
  'taken', digits(stock.taken + quantity),
  'seq', digits(seq),
  'unsettled', digits(stock.unsettled + quantity),
  'd:' .. attempt, table.concat({digits(seq), digits(quantity), digits(stock.version), digits(now), order}, ':'))
return {'deducted', now, stock.epoch, seq, stock.version, now}
