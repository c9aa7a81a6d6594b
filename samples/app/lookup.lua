local funcs = require("funcs")

type Failure = {kind: string, message: string, retryable?: boolean, id?: integer}

-- Looks up all ids; what fails is reported beside what was found.
local function lookup(ids: {any}): {found: {string}, failed: {Failure}}
    local found: {string}, failed: {Failure} = {}, {}
    for _, id in ipairs(ids) do
        local user, err = funcs.call("samples.app:find", id)
        if err then
            local details = err:details()
            failed[#failed + 1] = {
                kind = err:kind(),
                message = err:message(),
                retryable = err:retryable(),
                id = details and details.id,
            }
        else
            found[#found + 1] = user.name
        end
    end
    return {found = found, failed = failed}
end

return lookup
