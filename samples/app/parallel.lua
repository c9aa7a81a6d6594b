local funcs = require("funcs")
local time = require("time")

type Call = {target: string, args: {any}}

-- Runs all calls beside each other; answers their results by target.
local function parallel(calls: {Call}, limit: string?): ({[string]: any}?, error?)
    local targets: {[channel]: {call: Call, future: Future}} = {}
    for _, call in ipairs(calls) do
        local future, err = funcs.async(call.target, unpack(call.args))
        if err then return nil, err end
        targets[future:channel()] = {call = call, future = future}
    end

    local timeout = time.after(limit or "5s")
    local results: {[string]: any} = {}
    while next(targets) do
        local cases = {timeout:case_receive()}
        for responses in pairs(targets) do
            cases[#cases + 1] = responses:case_receive()
        end
        local ready = channel.select(cases)
        if ready.channel == timeout then
            for _, target in pairs(targets) do target.future:cancel() end
            return nil, errors.new({message = "the calls took too long", kind = errors.TIMEOUT, retryable = true})
        end
        local target = targets[ready.channel]
        targets[ready.channel] = nil
        -- The channel of a call that failed is closed without a value.
        if not ready.ok then return nil, (target.future:error()) end
        results[target.call.target] = ready.value:data()
    end
    return results
end

return parallel
