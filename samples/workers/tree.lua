local io = require("io")
local time = require("time")

-- The pool starts beside the command.
local function pool()
    while not process.registry.lookup("samples.pool") do time.sleep("5ms") end
    return "samples.pool"
end

local function main()
    local results = process.listen("result")
    local limits = { 10, 100, 1000, 1, 0 }
    for _, limit in ipairs(limits) do process.send(pool(), "job", limit) end

    local lines = {}
    for _ = 1, #limits do
        local result = results:receive()
        if result.failed then
            lines[#lines + 1] = string.format("up to %4d: failed twice, %s", result.limit, result.failed)
        else
            lines[#lines + 1] = string.format("up to %4d: %d, at attempt %d", result.limit, result.value, result.attempt)
        end
    end
    table.sort(lines)
    io.print(table.concat(lines, "\n"))

    -- A worker with an inbox.
    local events = process.events()
    local sum, err = process.spawn_monitored("samples.workers:sum", "samples.workers:processes")
    if err then return nil, err end
    for number = 1, 4 do process.send(sum, "add", number) end
    process.send(sum, "stop")
    io.print(events:receive().result.value)

    -- One without can't be sent anything, whether it still runs or has ended.
    local prime = process.spawn("samples.workers:largest_prime", "samples.workers:processes", 7)
    local _, refused = process.send(prime, "add", 1)
    io.print(refused and "refused" or "sent")
    return 0
end

return { main = main }
