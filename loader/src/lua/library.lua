-- The functions of `string` and `table` that Lua's own library would run for as long as it takes, made such that
-- the deadline ends them. Runs once in each Lua state, before `prelude.lua`; gives both tables.
local rust = ...

local string, table = string, table
local type, select, setmetatable, rawequal = type, select, setmetatable, rawequal
local next, math_type, maxinteger = next, math.type, math.maxinteger
local sub, concat, unpack = string.sub, table.concat, table.unpack
local step = rust.step

-- Items that one call of a C function works on, and most that a table has room for. Its length is any border,
-- which need not be near an item.
local CHUNK <const>, ITEMS_MAX <const> = 10000, rust.items_max

local function copy(library)
  local made = {}
  for name, value in next, library do made[name] = value end
  return made
end

local guarded_string, guarded_table = copy(string), copy(table)
guarded_string.dump = nil
guarded_string.find = rust.find
guarded_string.match = rust.match

-- Patterns -------------------------------------------------------------------------------------------------

function guarded_string.gmatch(s, p, init)
  local text, pattern, from = rust.gmatch(s, p, init)
  local last = -1
  local function go_on(start, stop, ...)
    if not start then return end
    from, last = stop, stop
    return ...
  end
  return function() return go_on(step(text, pattern, from, last, false, ITEMS_MAX)) end
end

-- Runs `f` where nothing can be suspended: a C function lies between.
local function apart(f) unpack(setmetatable({}, { __index = f }), 1, 1) end

function guarded_string.gsub(s, p, repl, n)
  local kind = type(repl)
  if kind ~= "function" and kind ~= "table" then return rust.gsub(s, p, repl, n) end
  local text, pattern, max, anchored = rust.gsub_arguments(s, p, n)
  local parts, size, count, copied, changed = {}, 0, 0, 0, false
  -- Takes one match with its captures.
  local function replaced(start, stop, ...)
    if not start then return end
    count = count + 1
    local value
    if kind == "function" then value = repl(...) else value = repl[(...)] end
    if not value then
      value = sub(text, start + 1, stop)
    elseif type(value) ~= "string" and type(value) ~= "number" then
      rust.raise("invalid replacement value (a " .. type(value) .. ")")
    else
      changed = true
    end
    parts[size + 1], parts[size + 2], size = sub(text, copied + 1, start), value, size + 2
    copied = stop
    return stop
  end
  apart(function()
    local from = 0
    local last = -1
    while count < max do
      from = replaced(step(text, pattern, from, last, anchored, kind == "table" and 1 or ITEMS_MAX))
      last = from
      if not from or anchored then break end
    end
  end)
  if not changed then return text, count end
  parts[size + 1] = sub(text, copied + 1)
  return concat(parts), count
end

function guarded_string.rep(s, n, sep)
  if s == "" and (sep == nil or sep == "") and math_type(n) == "integer" then return "" end
  return string.rep(s, n, sep)
end

-- Tables ---------------------------------------------------------------------------------------------------

local function check_length(list, name)
  if type(list) == "table" and #list > ITEMS_MAX then
    rust.raise("bad argument #1 to '" .. name .. "' (its length is beyond what a table has room for)")
  end
end

function guarded_table.insert(list, ...)
  if select("#", ...) == 2 then check_length(list, "insert") end
  return table.insert(list, ...)
end

function guarded_table.remove(list, ...)
  if select("#", ...) > 0 then check_length(list, "remove") end
  return table.remove(list, ...)
end

function guarded_table.sort(list, less)
  if type(list) == "table" and (less == nil or type(less) == "function") and #list > CHUNK then
    -- Compared by Lua, where the hook runs.
    local by = less
    if by then
      less = function(a, b) return by(a, b) end
    else
      less = function(a, b) return a < b end
    end
  end
  return table.sort(list, less)
end

-- Whether a move is of many items, and one that the original would not refuse.
local function is_long(first, last, to)
  if math_type(first) ~= "integer" or math_type(last) ~= "integer" or math_type(to) ~= "integer" then return false end
  if last < first or first <= 0 and last >= maxinteger + first then return false end
  local count = last - first + 1
  return count > CHUNK and to <= maxinteger - count + 1
end

function guarded_table.move(from, first, last, to, into)
  if not is_long(first, last, to) then return table.move(from, first, last, to, into) end
  local target = into
  if target == nil then target = from end
  if to > last or to <= first or not rawequal(target, from) then
    for start = first, last, CHUNK do
      local stop = last - start < CHUNK and last or start + CHUNK - 1
      table.move(from, start, stop, to + (start - first), target)
    end
  else
    for stop = last, first, -CHUNK do
      local start = stop - first < CHUNK and first or stop - CHUNK + 1
      table.move(from, start, stop, to + (start - first), target)
    end
  end
  return target
end

return guarded_string, guarded_table
