-- prelude.lua stands in front of every other script of this folder: how a
-- stock hash is read, and how numbers go in and out.
--
-- A stock hash has the counters
--
--   store      the UUID of the order store whose supply this is
--   epoch      the life of these counters; deductions of another epoch are void
--   supply     how many units may be deducted in this epoch, all in all
--   version    of the supply and the terms; a newer one replaces an older one
--   taken      units deducted in this epoch and not restored
--   seq        the sequence number of the last deduction
--   unsettled  the part of taken that is neither settled nor restored
--
-- the terms of sale, times in milliseconds
--
--   customer_limit  units that one customer may have, 0 for no limit
--   opens_at        when the sale begins, 0 if it has
--   closes_at       when the sale is over, 0 for never; later than opens_at
--   paused          1 while nobody may buy, else 0
--
-- one field d:<attempt> for each unsettled deduction, with the value
--
--   seq:quantity:version:milliseconds:bytes:<customer><order>
--
-- where version is the supply's at the grant, milliseconds is Redis's clock
-- then, and bytes is the length of the customer: IDs may have colons in them. A
-- deduction names its customer only if it was made under a customer's limit, so
-- that it counts; else bytes is 0. And one field c:<customer> for each customer
-- with such deductions: the units of all of them, at least 1.
--
-- All share one key so that they can only be lost together. Nothing of an
-- attempt or a customer stays once nothing of theirs is unsettled.
--
-- Every script checks all that it was given, and all that it read, before its
-- first write: Redis keeps the writes of a script that fails half-way.

-- A Lua number is a double: whole numbers are exact up to 2^53. We stay below
-- half of that, so that no sum of two counters can leave the exact range.
local BOUND = 4503599627370496

-- The most bytes of an ID, and the most units of one SKU in one order.
local ID_BYTES, MAX_QUANTITY = 128, 1000000

-- CHUNK is how many values one command takes from a table: an even number, and
-- few enough for unpack anywhere.
local CHUNK = 100

-- whole reads a whole number from low to high, in plain digits. Anything else
-- (a sign, a fraction, nan, an exponent, hex, a leading zero) is nil. Compare
-- what it returns, never the text: as strings, "9" is greater than "10".
local function whole(text, low, high)
  if type(text) ~= 'string' or #text > 17 then return nil end
  if text == '0' then
    if low > 0 then return nil end
    return 0
  end
  if not string.find(text, '^%-?[1-9]%d*$') then return nil end
  local n = tonumber(text)
  if n < low or n > high then return nil end
  return n
end

-- digits writes a whole number without the exponent that tostring would use.
local function digits(n)
  return string.format('%.0f', n)
end

-- refuse is the reply to arguments that no caller of ours sends.
local function refuse(what)
  return redis.error_reply('LASTUNIT ' .. what)
end

-- clock is Redis's time in milliseconds.
local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- named is whether a text can be an ID here: one that is read back as it was
-- written.
local function named(text)
  return text and text ~= '' and #text <= ID_BYTES
end

-- read_terms reads terms of sale into a table, from a hash or from arguments.
-- It returns false and what is wrong unless they are in order.
local function read_terms(into, limit, opens_at, closes_at, paused)
  into.limit = whole(limit, 0, MAX_QUANTITY)
  into.opens_at = whole(opens_at, 0, BOUND)
  into.closes_at = whole(closes_at, 0, BOUND)
  into.paused = whole(paused, 0, 1)
  if not into.limit then return false, 'customer_limit is not a whole number from 0 to 1000000' end
  if not into.opens_at then return false, 'opens_at is not a whole number from 0 to 2^52' end
  if not into.closes_at then return false, 'closes_at is not a whole number from 0 to 2^52' end
  if not into.paused then return false, 'paused is neither 0 nor 1' end
  if into.closes_at > 0 and into.closes_at <= into.opens_at then return false, 'closes_at is not after opens_at' end
  return true
end

-- read_fields reads the counters and the terms as they stand there.
local function read_fields(key)
  return redis.call('HMGET', key, 'store', 'epoch', 'supply', 'version', 'taken', 'seq', 'unsettled',
    'customer_limit', 'opens_at', 'closes_at', 'paused')
end

-- read_stock returns the counters and the terms, or nil and why they can't be
-- used: missing, foreign (another store's), or garbage.
local function read_stock(key, store)
  local v = read_fields(key)
  if not v[1] then
    for i = 2, 11 do
      if v[i] then return nil, 'garbage' end
    end
    return nil, 'missing'
  end
  if v[1] ~= store then return nil, 'foreign' end
  local stock = {
    epoch = whole(v[2], 1, BOUND),
    supply = whole(v[3], -BOUND, BOUND),
    version = whole(v[4], 1, BOUND),
    taken = whole(v[5], 0, BOUND),
    seq = whole(v[6], 0, BOUND),
    unsettled = whole(v[7], 0, BOUND),
  }
  if not (stock.epoch and stock.supply and stock.version and stock.taken and stock.seq and stock.unsettled)
    or stock.unsettled > stock.taken
    or not read_terms(stock, v[8], v[9], v[10], v[11]) then
    return nil, 'garbage'
  end
  return stock
end

-- parse_deduction reads the value of an unsettled deduction, with an empty
-- customer if it counts for none; nil if it is garbage.
local function parse_deduction(value)
  local seq, quantity, version, at, bytes, ids = string.match(value, '^(%d+):(%d+):(%d+):(%d+):(%d+):(.+)$')
  bytes = whole(bytes, 0, ID_BYTES)
  if not bytes or #ids <= bytes then return nil end
  local deduction = {
    seq = whole(seq, 1, BOUND),
    quantity = whole(quantity, 1, BOUND),
    version = whole(version, 1, BOUND),
    at = whole(at, 0, BOUND),
    customer = string.sub(ids, 1, bytes),
    order = string.sub(ids, bytes + 1),
  }
  if not (deduction.seq and deduction.quantity and deduction.version and deduction.at) then
    return nil
  end
  return deduction
end

-- read_deduction returns the unsettled deduction of an attempt; nil if there is
-- none; nil and true if what stands there is garbage.
local function read_deduction(key, attempt)
  local value = redis.call('HGET', key, 'd:' .. attempt)
  if not value then return nil end
  local deduction = parse_deduction(value)
  return deduction, not deduction
end

-- read_in_flight returns the units that count for a customer; nil if what
-- stands there is garbage.
local function read_in_flight(key, customer, stock)
  local units = redis.call('HGET', key, 'c:' .. customer)
  if not units then return 0 end
  return whole(units, 1, stock.unsettled)
end

-- named_deductions finds those of the pairs attempt, seq from ARGV[first] on
-- that are on record under that very seq, each once. It returns the attempts,
-- their units, and what stays in flight of each customer that they count for;
-- nil if it meets garbage.
local function named_deductions(key, first, stock)
  local attempts, units, seen, counted = {}, 0, {}, {}
  for i = first, #ARGV, 2 do
    local deduction, garbage = read_deduction(key, ARGV[i])
    if garbage then return nil end
    if deduction and deduction.seq == tonumber(ARGV[i + 1]) and not seen[ARGV[i]] then
      seen[ARGV[i]] = true
      attempts[#attempts + 1] = ARGV[i]
      units = units + deduction.quantity
      if deduction.customer ~= '' then
        counted[deduction.customer] = (counted[deduction.customer] or 0) + deduction.quantity
      end
    end
  end
  if units > stock.unsettled then return nil end
  local left = {}
  for customer, sum in pairs(counted) do
    local in_flight = read_in_flight(key, customer, stock)
    if not in_flight or in_flight < sum then return nil end
    left[customer] = in_flight - sum
  end
  return attempts, units, left
end

-- drop removes the records that named_deductions found, and writes what stays
-- in flight of their customers. Records go first: Redis lets a script that has
-- written go on without memory, and removing takes none.
local function drop(key, attempts, left)
  for i = 1, #attempts do
    redis.call('HDEL', key, 'd:' .. attempts[i])
  end
  for customer, units in pairs(left) do
    if units == 0 then
      redis.call('HDEL', key, 'c:' .. customer)
    else
      redis.call('HSET', key, 'c:' .. customer, digits(units))
    end
  end
end

-- whole_seqs says whether ARGV from first on is pairs of an attempt and a seq.
local function whole_seqs(first)
  if (#ARGV - first) % 2 == 0 then return false end
  for i = first + 1, #ARGV, 2 do
    if not whole(ARGV[i], 1, BOUND) then return false end
  end
  return true
end
