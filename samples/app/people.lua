-- Types are read by the compiler and erased: what runs is plain Lua, with the same line numbers.
type User = {id: integer, name: string, tags: {string}, active: boolean}

local people = {}

function people.all(): {User}
    return {
        {id = 1, name = "Alice", tags = {"admin", "dev"}, active = true},
        {id = 2, name = "Bob", tags = {}, active = false},
        {id = 3, name = "Carol", tags = {"dev"}, active = true},
    }
end

-- The items that `keep` wants, in order.
function people.filter<T>(items: {T}, keep: (T) -> boolean): {T}
    local kept: {T} = {}
    for _, item in ipairs(items) do
        if keep(item) then kept[#kept + 1] = item end
    end
    return kept
end

return people
