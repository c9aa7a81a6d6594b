-- Runs once in each Lua state: makes the module `process` of the functions that Rust gives. What belongs to
-- one invocation, the channels of its mailbox, is kept by Rust for as long as it runs.
local rust, waiting, new, arrived = ...

-- Channels -----------------------------------------------------------------------------------------------

-- The channels of this invocation's mailbox by what they give, and what feeds them once there is one.
local function subscriptions()
  local all = rust.subscriptions()
  if all == nil then
    all = {}
    local deliver = function()
      for _, channel in next, all do arrived(channel) end
    end
    local _, problem = rust.attach(all, deliver)
    if problem then return nil, problem end
  end
  return all
end

-- The channel `key`, made by the first who asks; `take` gives whether there is something for it, and that.
local function subscribe(key, take)
  local all, problem = subscriptions()
  if all == nil then return nil, problem end
  local channel = all[key]
  if channel == nil then
    channel = new(0)
    channel.source = take
    all[key] = channel
  end
  return channel
end

local function inbox() return subscribe("@inbox", rust.take_inbox) end
local function events() return subscribe("@events", rust.take_event) end

local function listen(topic, options)
  local whole = options ~= nil and options.message == true
  local all, problem = subscriptions()
  if all == nil then return nil, problem end
  local listening, refused = rust.listen(topic)
  if not listening then return nil, refused end
  local channel = all[topic]
  if channel ~= nil and channel.whole ~= whole then return nil, rust.listened(topic) end
  if channel == nil then
    channel = subscribe(topic, function() return rust.take_topic(topic, whole) end)
    channel.whole = whole
    channel.topic = topic
  end
  return channel
end

local function unlisten(channel)
  local all = rust.subscriptions()
  local topic = type(channel) == "table" and rawget(channel, "topic")
  if all ~= nil and topic and all[topic] == channel then
    all[topic] = nil
    rust.unlisten(topic)
    channel.source = nil
    channel:close()
    return true
  end
  return false
end

-- Spawning -----------------------------------------------------------------------------------------------

local exec = waiting(rust.exec)
local spawner_methods = {}
local Spawner = { __name = "spawner", __metatable = false, __index = spawner_methods }

local function spawner(options) return setmetatable({ options = options }, Spawner) end

local function options_of(self, name)
  if type(self) ~= "table" or rust.metatable(self) ~= Spawner then
    error("bad argument to '" .. name .. "' (spawner expected, got " .. type(self) .. ")", 3)
  end
  return self.options
end

local function changed(options, problem)
  if options == nil then return nil, problem end
  return spawner(options), nil
end

for _, name in next, { "with_context", "with_actor", "with_scope", "with_name", "with_message", "with_options" } do
  local change = rust[name]
  spawner_methods[name] = function(self, ...) return changed(change(options_of(self, name), ...)) end
end

local process = {
  pid = rust.pid, id = rust.id, send = rust.send, terminate = rust.terminate, cancel = rust.cancel,
  monitor = rust.monitor, unmonitor = rust.unmonitor, link = rust.link, unlink = rust.unlink,
  get_options = rust.get_options, set_options = rust.set_options, upgrade = rust.upgrade,
  inbox = inbox, events = events, listen = listen, unlisten = unlisten,
  exec = function(...) return exec(nil, ...) end,
  with_context = function(values) return changed(rust.with_context(nil, values)) end,
  with_options = function(values) return changed(rust.with_options(nil, values)) end,
  event = {
    CANCEL = "pid.cancel", EXIT = "pid.exit", LINK_DOWN = "pid.link.down", OUTDATED = "pid.outdated",
  },
  registry = {
    LOCAL = 0, EVENTUAL = 1, CONSISTENT = 2, STRONG = 3,
    register = rust.register, lookup = rust.lookup, unregister = rust.unregister,
  },
}
function spawner_methods:exec(...) return exec(options_of(self, "exec"), ...) end

for name, ties in next, { spawn = 0, spawn_monitored = 1, spawn_linked = 2, spawn_linked_monitored = 3 } do
  process[name] = function(...) return rust.spawn(nil, ties, ...) end
  spawner_methods[name] = function(self, ...) return rust.spawn(options_of(self, name), ties, ...) end
end

return process
