-- `find`, `match`, `gmatch` and `gsub` of strings, such that the deadline ends them. Called once in each Lua state, by
-- `library.lua`; gives a table of them.
local rust, concat = ...

local type, setmetatable, math_type = type, setmetatable, math.type
local sub, pack, unpack = string.sub, table.pack, table.unpack

local searches = {}

-- Lua's own functions, used where it is known that they end soon: by pattern, how long a text may be for that, -1 if
-- none may. The patterns stay from one invocation to the next, which sees nothing of it.
local lua_find, lua_match, lua_gmatch, lua_gsub = string.find, string.match, string.gmatch, string.gsub
local rust_find, rust_match, rust_gsub = rust.find, rust.match, rust.gsub
local PATTERNS_MAX <const>, PATTERN_MAX <const> = rust.patterns_known_max, rust.pattern_bytes_known_max
local known, seen, search_limits, all_limits, captures_of, highest_of = 0, {}, {}, {}, {}, {}

-- Longest text that is searched for another one by Lua's own function, and longest of these.
local PLAIN_MAX <const>, SOUGHT_MAX <const> = 4096, 64
-- Bytes that values make a text longer by which take as long as what may be taken on end.
local OUTPUT_MAX <const> = 4 << 20
-- Longest replacement that Lua's own function is used with.
local REPLACEMENT_MAX <const> = 64

-- What was left to Lua's own functions since others had a turn for it, as a part of what they may take on end. Each
-- call counts, since a pattern may take some steps however short the text is.
local spent = 0
local CALL <const>, LEARNING <const> = 1 / 1024, 1 / 16

local function spend(part)
  spent = spent + part
  if spent > 1 then
    spent = 0
    rust.worked()
  end
end

local function make_room()
  if known >= PATTERNS_MAX then
    known, seen, search_limits, all_limits, captures_of, highest_of = 0, {}, {}, {}, {}, {}
  end
  known = known + 1
end

-- A pattern is looked at when it comes again: others may be made for one search each.
local function learn(pattern)
  if type(pattern) ~= "string" or #pattern > PATTERN_MAX then return end
  make_room()
  if not seen[pattern] then
    seen[pattern] = true
    return
  end
  search_limits[pattern], all_limits[pattern], captures_of[pattern] = rust.limits(pattern)
  spend(LEARNING)
end

local function search_limit(pattern)
  learn(pattern)
  return search_limits[pattern] or -1
end

local function all_limit(pattern)
  learn(pattern)
  return all_limits[pattern] or -1
end

function searches.find(s, p, init, plain)
  if type(s) == "string" and (init == nil or math_type(init) == "integer") then
    local size = #s
    if plain then
      if size <= PLAIN_MAX and type(p) == "string" and #p <= SOUGHT_MAX then return lua_find(s, p, init, plain) end
    else
      local limit = search_limits[p] or search_limit(p)
      if size <= limit then
        spent = spent + (size / limit + CALL)
        if spent > 1 then spend(0) end
        return lua_find(s, p, init)
      end
    end
  end
  return rust_find(s, p, init, plain)
end

function searches.match(s, p, init)
  if type(s) == "string" and (init == nil or math_type(init) == "integer") then
    local size, limit = #s, search_limits[p] or search_limit(p)
    if size <= limit then
      spent = spent + (size / limit + CALL)
      if spent > 1 then spend(0) end
      return lua_match(s, p, init)
    end
  end
  return rust_match(s, p, init)
end

-- Matches that are searched for at once.
local MATCHES_MAX <const> = 64

-- What gives one match after the other: a list, where the numbers of the match start in it, and how many they are. The
-- numbers are its first and last place, and the same of each capture (`step`).
local function matches(text, pattern, from, is_anchored)
  local step, last, most = rust.step, -1, 2
  local found, at, stop, width = nil, 1, 0, 0
  return function()
    if at > stop then
      if not from then return end
      found = pack(step(text, pattern, from, last, is_anchored, most))
      at, stop, width = 2, found.n, found[1]
      if not width then
        from = nil
        return
      end
      last = found[stop - width + 2]
      from = not is_anchored and last or nil
      if most < MATCHES_MAX then most = most * 2 end
    end
    local first = at
    at = at + width
    return found, first, width
  end
end

local function capture(text, found, at)
  local start, stop = found[at], found[at + 1]
  if stop == -2 then rust.raise("unfinished capture") end
  if stop < 0 then return start end
  return sub(text, start, stop)
end

local function captures(text, found, first, width)
  if width == 2 then return sub(text, found[first], found[first + 1]) end
  if width == 4 then return capture(text, found, first + 2) end
  if width == 6 then return capture(text, found, first + 2), capture(text, found, first + 4) end
  local values, count = {}, width // 2 - 1
  for index = 1, count do values[index] = capture(text, found, first + 2 * index) end
  return unpack(values, 1, count)
end

-- What part of what Lua's own function may take on end all matches of `p` in `s` are at most, if it may be used.
local function part_of(s, p)
  local limit = all_limits[p] or all_limit(p)
  local size = #s
  if size <= limit then return size / limit + CALL end
  if limit < 0 then return end
  -- On long texts it depends on what they are: how long the runs of letters are, say.
  local part, work = rust.part(s, p)
  spend(work)
  return part
end

-- Part of what may be taken on end up to which an iterator of Lua's own is given away: one that has come to the end
-- searches what is left of the text again at each further call.
local ITERATOR_PART <const> = 1 / 128

local function ending(following, count)
  local has_ended = false
  if count < 2 then
    return function()
      if has_ended then return end
      local value = following()
      if value ~= nil then return value end
      has_ended = true
    end
  end
  local function passed(...)
    has_ended = ... == nil
    return ...
  end
  return function()
    if not has_ended then return passed(following()) end
  end
end

function searches.gmatch(s, p, init)
  if type(s) == "string" and type(p) == "string" and (init == nil or math_type(init) == "integer") then
    local part = part_of(s, p)
    if part then
      spend(part)
      local following = lua_gmatch(s, p, init)
      return part < ITERATOR_PART and following or ending(following, captures_of[p])
    end
  end
  local text, pattern, from = rust.gmatch(s, p, init)
  local next_match = matches(text, pattern, from, false)
  return function()
    local found, first, width = next_match()
    if not found then return end
    if width == 2 then return sub(text, found[first], found[first + 1]) end
    return captures(text, found, first, width)
  end
end

-- Runs `f` where nothing can be suspended: a C function lies between.
local function apart(f) unpack(setmetatable({}, { __index = f }), 1, 1) end

-- `gsub` with a function or a table.
local function replace(s, p, repl, n, kind)
  local text, pattern, max, is_anchored = rust.gsub_arguments(s, p, n)
  local parts, size, count, copied, changed = {}, 0, 0, 0, false
  local next_match = matches(text, pattern, 0, is_anchored)
  apart(function()
    while count < max do
      local found, first, width = next_match()
      if not found then break end
      count = count + 1
      local start, stop = found[first], found[first + 1]
      local value
      if kind == "table" then
        value = repl[capture(text, found, width == 2 and first or first + 2)]
      elseif width == 2 then
        value = repl(sub(text, start, stop))
      else
        value = repl(captures(text, found, first, width))
      end
      if not value then
        value = sub(text, start, stop)
      elseif type(value) ~= "string" and type(value) ~= "number" then
        rust.raise("invalid replacement value (a " .. type(value) .. ")")
      else
        changed = true
      end
      parts[size + 1], parts[size + 2], size = sub(text, copied + 1, start - 1), value, size + 2
      copied = stop
    end
  end)
  if not changed then return text, count end
  parts[size + 1] = sub(text, copied + 1)
  return concat(parts), count
end

-- A replacement whose values are checked before Lua's own function does: what that raises has the place of this file,
-- which handlers of errors put right, but in a coroutine there is none.
local function checked(repl, kind)
  return function(...)
    local value
    if kind == "table" then value = repl[(...)] else value = repl(...) end
    if value and type(value) ~= "string" and type(value) ~= "number" then
      rust.raise("invalid replacement value (a " .. type(value) .. ")")
    end
    return value
  end
end

-- Whether Lua's own function takes `repl` as a replacement of matches of `p`, whose captures are known.
local function is_short_replacement(p, repl)
  if #repl > REPLACEMENT_MAX then return false end
  if not lua_find(repl, "%", 1, true) then return true end
  local highest, count = highest_of[repl], captures_of[p]
  if not highest then
    highest = rust.highest(repl)
    make_room()
    highest_of[repl] = highest
  end
  return highest <= count or highest == 1 and count == 0
end

function searches.gsub(s, p, repl, n)
  local kind = type(repl)
  local is_called = kind == "function" or kind == "table"
  if type(s) == "string" and type(p) == "string" and (n == nil or math_type(n) == "integer") then
    if is_called then
      local part = part_of(s, p)
      if part then
        spend(part)
        if rust.is_nested and rust.is_nested() then repl = checked(repl, kind) end
        local text, count = lua_gsub(s, p, repl, n)
        if #text > #s then spend(#text / OUTPUT_MAX) end
        return text, count
      end
    elseif kind == "string" then
      local size, limit = #s, all_limits[p] or all_limit(p)
      if size <= limit and is_short_replacement(p, repl) then
        spend(size / limit + CALL)
        return lua_gsub(s, p, repl, n)
      end
    end
  end
  if is_called then return replace(s, p, repl, n, kind) end
  return rust_gsub(s, p, repl, n)
end

return searches
