local funcs = require("funcs")
local people = require("people")

type User = {id: integer, name: string, tags: {string}, active: boolean}
type View = User & {display: string, tag_count: integer}

-- A line for each active user.
local function team(): ({string}?, error?)
    local views, err = funcs.call("samples.users:transform_users", people.all())
    if err then return nil, errors.wrap(err, "the users can't be shown") end

    local active = people.filter(views as {View}, function(view: View): boolean
        return view.active
    end)
    local lines: {string} = {}
    for _, view in ipairs(active) do
        -- `tag-count` in WIT: records are read by names of either spelling.
        lines[#lines + 1] = ("%s: %d tags"):format(view.display, view.tag_count)
    end
    return lines, nil
end

-- The user with an id: the component returns a WIT `result`, which arrives as `value, err`.
local function find(id: integer): (User?, error?)
    local user, err = funcs.call("samples.users:find_user", people.all(), id)
    if err and err:kind() == errors.UNKNOWN then
        return nil, errors.new({message = err:message(), kind = errors.NOT_FOUND, details = {id = id}})
    end
    return user, err
end

return {team = team, find = find}
