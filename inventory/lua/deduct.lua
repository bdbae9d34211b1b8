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
-- ARGV[8]  customer
-- ARGV[9]  cleared: 1 if the order store found the sale open, so that Redis's
--          clock does not count, else 0
--
-- Returns {status, now, ...}:
--   {'deducted', now, epoch, seq, version, at}
--   {'paused' | 'unopened' | 'closed', now, epoch, version, opens_at, closes_at, unsettled}
--   {'limit', now, epoch, version, limit, in_flight, unsettled}   in flight of this customer
--   {'short', now, epoch, version, available, 0, unsettled}
--   {'late', now}
--   {'other', now}               the attempt is on record with another request
--   {'unusable', now, why}       why is missing, foreign, garbage, behind or spent
-- In all but the first nothing was taken.
--
-- Safe to repeat while the deduction is unsettled: the attempt finds its own
-- record and gets the same deduction again. A copy that arrives after it was
-- settled or restored takes units again, but under a seq of its own, which no
-- order consumed: the sweep gives them back.

local key = KEYS[1]
local store, attempt, order, customer = ARGV[1], ARGV[5], ARGV[7], ARGV[8]
local known_epoch = whole(ARGV[2], 0, BOUND)
local known_seq = whole(ARGV[3], 0, BOUND)
local deadline = whole(ARGV[4], 0, BOUND)
local quantity = whole(ARGV[6], 1, MAX_QUANTITY)
local cleared = whole(ARGV[9], 0, 1)
if not known_epoch then return refuse('epoch is not a whole number from 0 to 2^52') end
if not known_seq then return refuse('seq is not a whole number from 0 to 2^52') end
if not deadline then return refuse('deadline is not a whole number from 0 to 2^52') end
if not quantity then return refuse('quantity is not a whole number from 1 to 1000000') end
if not cleared then return refuse('cleared is neither 0 nor 1') end
if not (named(attempt) and named(order) and named(customer)) then
  return refuse('attempt, order or customer has not 1 to 128 bytes')
end

local now = clock()
local stock, why = read_stock(key, store)
if not stock then return {'unusable', now, why} end

-- Counters that are behind what the caller saw were lost and came back old.
if stock.epoch < known_epoch or (stock.epoch == known_epoch and stock.seq < known_seq) then
  return {'unusable', now, 'behind'}
end

-- What is on record is answered first, whatever the terms have become.
local deduction, garbage = read_deduction(key, attempt)
if garbage then return {'unusable', now, 'garbage'} end
if deduction then
  if deduction.order ~= order or deduction.quantity ~= quantity
    or (deduction.customer ~= '' and deduction.customer ~= customer) then
    return {'other', now}
  end
  return {'deducted', now, stock.epoch, deduction.seq, deduction.version, deduction.at}
end

if deadline > 0 and now > deadline then return {'late', now} end

-- A replica, or a master that lost its replicas, may be behind: only who may
-- write may refuse. The attempt's field isn't there, so that nothing is written.
local function no(status, a, b)
  redis.call('HDEL', key, 'd:' .. attempt)
  return {status, now, stock.epoch, stock.version, a, b, stock.unsettled}
end

if stock.paused == 1 then return no('paused', stock.opens_at, stock.closes_at) end
if cleared == 0 then
  if now < stock.opens_at then return no('unopened', stock.opens_at, stock.closes_at) end
  if stock.closes_at > 0 and now >= stock.closes_at then return no('closed', stock.opens_at, stock.closes_at) end
end

-- The units of a customer are counted only under a limit. Postgres decides it;
-- here it keeps a customer from taking more at once than they could ever keep.
local counted, in_flight = '', 0
if stock.limit > 0 then
  counted, in_flight = customer, read_in_flight(key, customer, stock)
  if not in_flight then return {'unusable', now, 'garbage'} end
  if in_flight + quantity > stock.limit then return no('limit', stock.limit, in_flight) end
end

if stock.supply - stock.taken < quantity then
  return no('short', stock.supply - stock.taken, 0)
end
if stock.seq >= BOUND or stock.taken + quantity > BOUND then return {'unusable', now, 'spent'} end

local seq = stock.seq + 1
redis.call('HSET', key,
  'taken', digits(stock.taken + quantity),
  'seq', digits(seq),
  'unsettled', digits(stock.unsettled + quantity),
  'd:' .. attempt, table.concat({
    digits(seq), digits(quantity), digits(stock.version), digits(now), digits(#counted), counted .. order,
  }, ':'))
if counted ~= '' then
  redis.call('HSET', key, 'c:' .. customer, digits(in_flight + quantity))
end
return {'deducted', now, stock.epoch, seq, stock.version, now}
