-- A pool under supervision. It takes jobs, runs each in a worker of its own, tries one that crashed once more
-- with the next limit, and answers who asked.

local ATTEMPTS = 2

local function main()
    local jobs = process.listen("job", { message = true })
    local events = process.events()
    process.registry.register("samples.pool")

    local running: {[string]: {limit: number, attempt: number, from: string}} = {}

    local function start(limit: number, attempt: number, from: string)
        local pid, err = process.spawn_monitored("samples.workers:largest_prime", "samples.workers:processes", limit)
        if err then
            process.send(from, "result", { limit = limit, failed = err:message() })
            return
        end
        running[pid] = { limit = limit, attempt = attempt, from = from }
    end

    while true do
        local ready = channel.select { jobs:case_receive(), events:case_receive() }
        if ready.channel == jobs then
            start(ready.value:payload():data(), 1, ready.value:from())
        elseif ready.value.kind == process.event.CANCEL then
            return
        elseif ready.value.kind == process.event.EXIT then
            local job = running[ready.value.from]
            running[ready.value.from] = nil
            local result = ready.value.result
            if not result.error then
                process.send(job.from, "result", { limit = job.limit, value = result.value, attempt = job.attempt })
            elseif job.attempt < ATTEMPTS then
                start(job.limit + 1, job.attempt + 1, job.from)
            else
                process.send(job.from, "result", { limit = job.limit, failed = result.error:kind() })
            end
        end
    end
end

return { main = main }
