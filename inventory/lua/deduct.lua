-- deduct.lua takes units for attempts, one after the other.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch that the caller knows of, 0 for none
-- ARGV[3]  the highest seq that the caller knows to be granted in that epoch
-- ARGV[4]  cleared: 1 if the order store found the sale open, so that Redis's
--          clock does not count, else 0
-- ARGV[5..] of each attempt
--   deadline by Redis's clock in milliseconds, 0 for none
--   attempt
--   quantity
--   order ID
--   customer
--
-- Returns {'unusable', why}, and nothing was taken: why is missing, foreign,
-- garbage or behind. Or {'decided', now, epoch, version, ...} with one of these
-- for each attempt:
--   seq                                  it was deducted just now
--   {'again', seq, version, at}          it is on record since before
--   {'paused' | 'unopened' | 'closed', opens_at, closes_at, unsettled}
--   {'limit', limit, in_flight, unsettled}    in flight of this customer
--   {'short', available, 0, unsettled}
--   {'late'}
--   {'other'}                            it is on record with another request
--   {'spent'}                            a counter is near its bound
-- In all but the first two nothing was taken.
--
-- Safe to repeat while a deduction is unsettled: the attempt finds its own
-- record and gets the same deduction again. A copy that arrives after it was
-- settled or restored takes units again, but under a seq of its own, which no
-- order consumed: the sweep gives them back.

local key, store = KEYS[1], ARGV[1]
local known_epoch = whole(ARGV[2], 0, BOUND)
local known_seq = whole(ARGV[3], 0, BOUND)
local cleared = whole(ARGV[4], 0, 1)
if not known_epoch then return refuse('epoch is not a whole number from 0 to 2^52') end
if not known_seq then return refuse('seq is not a whole number from 0 to 2^52') end
if not cleared then return refuse('cleared is neither 0 nor 1') end
if #ARGV < 9 or (#ARGV - 4) % 5 ~= 0 then return refuse('attempts are not of five arguments each') end

local deadlines, quantities, fields = {}, {}, {}
for i = 5, #ARGV, 5 do
  local n = #fields + 1
  deadlines[n] = whole(ARGV[i], 0, BOUND)
  quantities[n] = whole(ARGV[i + 2], 1, MAX_QUANTITY)
  if not deadlines[n] then return refuse('deadline is not a whole number from 0 to 2^52') end
  if not quantities[n] then return refuse('quantity is not a whole number from 1 to 1000000') end
  if not (named(ARGV[i + 1]) and named(ARGV[i + 3]) and named(ARGV[i + 4])) then
    return refuse('attempt, order or customer has not 1 to 128 bytes')
  end
  fields[n] = 'd:' .. ARGV[i + 1]
end

local now = clock()
local stock, why = read_stock(key, store)
if not stock then return {'unusable', why} end

-- Counters that are behind what the caller saw were lost and came back old.
if stock.epoch < known_epoch or (stock.epoch == known_epoch and stock.seq < known_seq) then
  return {'unusable', 'behind'}
end

-- What is on record is answered first, whatever the terms have become.
local records = {} -- by field
for from = 1, #fields, CHUNK do
  local to = math.min(from + CHUNK - 1, #fields)
  local values = redis.call('HMGET', key, unpack(fields, from, to))
  for i = from, to do
    local value = values[i - from + 1]
    if value then
      records[fields[i]] = parse_deduction(value)
      if not records[fields[i]] then return {'unusable', 'garbage'} end
    end
  end
end

local shut -- why nobody may buy at the moment
if stock.paused == 1 then
  shut = 'paused'
elseif cleared == 0 and now < stock.opens_at then
  shut = 'unopened'
elseif cleared == 0 and stock.closes_at > 0 and now >= stock.closes_at then
  shut = 'closed'
end

local refused       -- the field of an attempt that is refused
local in_flight = {} -- units of each customer, read or changed here
local writes = {}    -- fields and values
local grown = {}     -- customers whose units grew
local versioned = ':' .. digits(stock.version) .. ':' .. digits(now) .. ':'

-- decide answers one attempt.
local function decide(field, deadline, quantity, order, customer)
  local record = records[field]
  if record then
    if record.order ~= order or record.quantity ~= quantity
      or (record.customer ~= '' and record.customer ~= customer) then
      return {'other'}
    end
    return {'again', record.seq, record.version, record.at}
  end
  if deadline > 0 and now > deadline then return {'late'} end
  if shut then
    refused = field
    return {shut, stock.opens_at, stock.closes_at, stock.unsettled}
  end
  -- The units of a customer are counted only under a limit. Postgres decides it;
  -- here it keeps a customer from taking more at once than they could ever keep.
  local counted = ''
  if stock.limit > 0 then
    counted = customer
    if in_flight[customer] + quantity > stock.limit then
      refused = field
      return {'limit', stock.limit, in_flight[customer], stock.unsettled}
    end
  end
  if stock.supply - stock.taken < quantity then
    refused = field
    return {'short', stock.supply - stock.taken, 0, stock.unsettled}
  end
  if stock.seq >= BOUND or stock.taken + quantity > BOUND then return {'spent'} end

  stock.taken = stock.taken + quantity
  stock.unsettled = stock.unsettled + quantity
  stock.seq = stock.seq + 1
  if counted ~= '' then
    in_flight[customer] = in_flight[customer] + quantity
    grown[customer] = true
  end
  writes[#writes + 1] = field
  writes[#writes + 1] = digits(stock.seq) .. ':' .. digits(quantity) .. versioned .. #counted .. ':' .. counted .. order
  records[field] = {
    seq = stock.seq, quantity = quantity, version = stock.version, at = now, customer = counted, order = order,
  }
  return stock.seq
end

if stock.limit > 0 and not shut then
  for i = 9, #ARGV, 5 do
    if not in_flight[ARGV[i]] then
      in_flight[ARGV[i]] = read_in_flight(key, ARGV[i], stock)
      if not in_flight[ARGV[i]] then return {'unusable', 'garbage'} end
    end
  end
end
local reply = {'decided', now, stock.epoch, stock.version}
for n = 1, #fields do
  reply[n + 4] = decide(fields[n], deadlines[n], quantities[n], ARGV[5 * n + 3], ARGV[5 * n + 4])
end

if #writes > 0 then
  for customer in pairs(grown) do
    writes[#writes + 1] = 'c:' .. customer
    writes[#writes + 1] = digits(in_flight[customer])
  end
  -- Redis lets a script that has written go on without memory: only the first
  -- of these can fail.
  redis.call('HSET', key, 'taken', digits(stock.taken), 'seq', digits(stock.seq), 'unsettled', digits(stock.unsettled))
  for from = 1, #writes, CHUNK do
    redis.call('HSET', key, unpack(writes, from, math.min(from + CHUNK - 1, #writes)))
  end
elseif refused then
  -- A replica, or a master that lost its replicas, may be behind: only who may
  -- write may refuse. The attempt's field isn't there, so that nothing is written.
  redis.call('HDEL', key, refused)
end
return reply
