local funcs = require("funcs")
local security = require("security")

-- Calls every target and says what came of it.
local function attempt(targets: {{any}}): {string}
    local actor = security.actor()
    local who = actor and actor:id() or "nobody"
    local lines: {string} = {}
    for _, target in ipairs(targets) do
        local value, err = funcs.call(unpack(target))
        local outcome = err and err:kind() or tostring(value)
        lines[#lines + 1] = ("%s, %s: %s"):format(who, target[1], outcome)
    end
    return lines
end

-- The same for a guest: actor and scope go to the callee, and all that it calls is checked against them.
local function as_guest(targets: {{any}}): ({string}?, error?)
    local guest, err = security.new_actor("user:bob", {role = "guest"})
    if err then return nil, err end
    local scope, err = security.named_scope("samples.app:guest")
    if err then return nil, err end
    return funcs.new():with_actor(guest):with_scope(scope):call("samples.app:attempt", targets)
end

return {attempt = attempt, as_guest = as_guest}
