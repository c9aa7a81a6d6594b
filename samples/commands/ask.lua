local io = require("io")

local function main(...)
    local names: {string} = { ... }
    local sum = 0
    while true do
        io.write("number? ")
        local line = io.readline()
        if not line or line == "" then break end
        local number = tonumber(line)
        if not number then
            io.eprint("`" .. line .. "` is no number")
            return 1
        end
        sum = sum + number
    end
    io.print("\nThe sum is " .. sum .. (names[1] and ", " .. names[1] or ""))
    return 0
end

return { main = main }
