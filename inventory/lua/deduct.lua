-- deduct.lua takes units for attempts, one after the other.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch that the caller knows of, 0 for none
-- ARGV[3]  the highest seq that the caller knows to be granted in that epoch
-- ARGV[4]  cleared: 1 if the order store found the sale open, so that Redis's
--          clock does not count, else 0
-- ARGV[5..] of each attempt
--   quantity:deadline, the deadline by Redis's clock in milliseconds, 0 for none
--   attempt
--   order ID
--   customer
--
-- Returns {'unusable', why}, and nothing was taken: why is missing, foreign,
-- of another format, garbage or behind. Or {'decided', now, epoch, version, seq, ...} where the
-- attempts were deducted just now, the first of them under seq, and each under
-- the seq after the one before; but for those listed after seq, by five values
-- each: the attempt's place from 1 on, a status, and three numbers:
--   'again', seq, version, at            it is on record since before
--   'paused' | 'unopened' | 'closed', opens_at, closes_at, unsettled
--   'limit', limit, in_flight, unsettled    in flight of this customer
--   'short', available, 0, unsettled
--   'reopening', milliseconds, 0, 0      what is available is kept for so long
--   'late', 0, 0, 0
--   'other', 0, 0, 0                     it is on record with another request
--   'spent', 0, 0, 0                     a counter is near its bound
-- For all of these nothing was taken just now.
--
-- Safe to repeat while a deduction is unsettled: the attempt finds its own
-- record and gets the same deduction again. A copy that arrives after it was
-- settled or restored takes units again, but under a seq of its own, which no
-- order consumed: the sweep gives them back.

local key, store, arguments = KEYS[1], ARGV[1], ARGV
local known_epoch = whole(arguments[2], 0, BOUND)
local known_seq = whole(arguments[3], 0, BOUND)
local cleared = whole(arguments[4], 0, 1)
if not known_epoch then return refuse('epoch is not a whole number from 0 to 2^52') end
if not known_seq then return refuse('seq is not a whole number from 0 to 2^52') end
if not cleared then return refuse('cleared is neither 0 nor 1') end
if #arguments < 8 or #arguments % 4 ~= 0 then return refuse('attempts are not of four arguments each') end

-- Attempts of one call mostly share what they ask for and until when: each such
-- text is read once.
local quantities, deadlines = {}, {} -- by the text
local count = (#arguments - 4) / 4
local fields = {}
for n = 1, count do
  local asked, attempt = arguments[4 * n + 1], arguments[4 * n + 2]
  if not quantities[asked] then
    local quantity, deadline = string.match(asked, '^(%d+):(%d+)$')
    quantities[asked], deadlines[asked] = whole(quantity, 1, MAX_QUANTITY), whole(deadline, 0, BOUND)
    if not quantities[asked] then return refuse('quantity is not a whole number from 1 to 1000000') end
    if not deadlines[asked] then return refuse('deadline is not a whole number from 0 to 2^52') end
  end
  if not named(attempt, arguments[4 * n + 3], arguments[4 * n + 4]) then
    return refuse('attempt, order or customer has not 1 to 128 bytes')
  end
  fields[n] = 'd:' .. attempt
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
local values = values_of(key, fields)
for n = 1, count do
  if values[n] then
    records[fields[n]] = parse_deduction(values[n])
    if not records[fields[n]] then return {'unusable', 'garbage'} end
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

-- The units of a customer are counted only under a limit. Postgres decides it;
-- here it keeps a customer from taking more at once than they could ever keep.
local limit = stock.limit
local in_flight = {} -- units of each customer, read or changed here
if limit > 0 and not shut then
  local customers = {}
  for n = 1, count do
    local customer = arguments[4 * n + 4]
    if not in_flight[customer] then
      in_flight[customer] = 0
      customers[#customers + 1] = customer
    end
  end
  if not read_in_flight(key, customers, stock, in_flight) then return {'unusable', 'garbage'} end
end

local available, taken, seq = stock.supply - stock.taken, 0, stock.seq
local reply = {'decided', now, stock.epoch, stock.version, seq + 1}
local refused -- the field of an attempt that is refused

-- Who holds units while others may still say that there are none could be refused
-- by them, and be booked all the same.
local reopened = tonumber(value_of(key, 'reopened') or '') or 0
local kept = reopened > 0 and reopened <= now and reopened + KEPT - now or 0

-- answer lists an attempt that is not deducted just now.
local function answer(n, status, a, b, c)
  local at = #reply
  reply[at + 1], reply[at + 2], reply[at + 3], reply[at + 4], reply[at + 5] = n, status, a or 0, b or 0, c or 0
end

-- To write numbers takes longer than all else about a record. The digits of seq
-- but the last stay the same for ten records, and what comes between seq and the
-- IDs for all of a quantity.
local tens, ones = math.floor(seq / 10), seq % 10
local head = tens > 0 and digits(tens) or ''
local between = {}
for asked, quantity in pairs(quantities) do
  between[asked] = ':' .. digits(quantity) .. ':' .. digits(stock.version) .. ':' .. digits(now) .. ':'
end

local grown = {} -- customers whose units grew
local writes = {'taken', 0, 'seq', 0, 'unsettled', 0} -- fields and values; the counters follow
local last = #writes
for n = 1, count do
  local i = 4 * n
  local asked, order, customer = arguments[i + 1], arguments[i + 3], arguments[i + 4]
  local field, quantity, deadline = fields[n], quantities[asked], deadlines[asked]
  local record = records[field]
  if record then
    if type(record) == 'string' then record = parse_deduction(record) end -- of this very call
    if record.order ~= order or record.quantity ~= quantity
      or (record.customer ~= '' and record.customer ~= customer) then
      answer(n, 'other')
    else
      answer(n, 'again', record.seq, record.version, record.at)
    end
  elseif deadline > 0 and now > deadline then
    answer(n, 'late')
  elseif shut then
    refused = field
    answer(n, shut, stock.opens_at, stock.closes_at, stock.unsettled + taken)
  elseif limit > 0 and in_flight[customer] + quantity > limit then
    refused = field
    answer(n, 'limit', limit, in_flight[customer], stock.unsettled + taken)
  elseif available < quantity then
    refused = field
    answer(n, 'short', available, 0, stock.unsettled + taken)
  elseif kept > 0 then
    answer(n, 'reopening', kept)
  elseif seq >= BOUND or stock.taken + taken + quantity > BOUND then
    answer(n, 'spent')
  else
    available, taken, seq, ones = available - quantity, taken + quantity, seq + 1, ones + 1
    if ones == 10 then
      tens, ones = tens + 1, 0
      head = digits(tens)
    end
    local counted = '0:'
    if limit > 0 then
      counted = #customer .. ':' .. customer
      in_flight[customer] = in_flight[customer] + quantity
      grown[customer] = true
    end
    local value = head .. DIGITS[ones] .. between[asked] .. counted .. order
    writes[last + 1], writes[last + 2] = field, value
    last = last + 2
    records[field] = value
  end
end

if taken > 0 then
  for customer in pairs(grown) do
    writes[last + 1], writes[last + 2] = 'c:' .. customer, digits(in_flight[customer])
    last = last + 2
  end
  writes[2], writes[4], writes[6] = digits(stock.taken + taken), digits(seq), digits(stock.unsettled + taken)
  -- Redis lets a script that has written go on without memory: only the first
  -- of these can fail.
  change('HSET', key, writes)
elseif refused then
  -- A replica, or a master that lost its replicas, may be behind: only who may
  -- write may refuse. The attempt's field isn't there, so that nothing is written.
  redis.call('HDEL', key, refused)
end
return reply
