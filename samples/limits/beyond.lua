local funcs = require("funcs")

-- Each function with an argument that is too much for it.
local BEYOND = {
    {"memory", 5},
    {"elements", 101},
    {"depth", 10000000},
}

-- Longer than any limit.
local ENDLESS = 1 << 60

local function told(err: error?): string
    if not err then return "nothing" end
    return err:kind() .. (err:retryable() and ", retryable" or "") .. ": " .. err:message()
end

local function beyond(): {string}
    local answers: {string} = {}
    for _, case in ipairs(BEYOND) do
        local _, err = funcs.call("samples.limits:" .. case[1], case[2])
        answers[#answers + 1] = told(err)
    end
    -- One of the two waits for the only slot: for a second, since its caller has a slot of its own.
    local asynchronous = funcs.async("samples.limits:rounds", ENDLESS)
    local _, direct = funcs.call("samples.limits:rounds", ENDLESS)
    asynchronous:response():receive()
    local _, other = asynchronous:result()
    local both: {string} = {told(direct), told(other)}
    table.sort(both)
    for _, text in ipairs(both) do
        answers[#answers + 1] = text
    end
    return answers
end

return beyond
