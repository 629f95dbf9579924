-- What the editor does in the test `lsp_neovim`; the rest of the test is what it has seen.
local seen = {}
local config = { name = "sampan", cmd = { vim.env.SAMPAN_PROGRAM, "lsp" }, root_dir = vim.fn.getcwd() }
config.on_exit = function(code) seen.exit = code end
local client
if vim.lsp.start then
    client = vim.lsp.start(config)
else
    client = vim.lsp.start_client(config)
    vim.lsp.buf_attach_client(0, client)
end
local function rules()
    local found = {}
    for _, one in ipairs(vim.diagnostic.get(0)) do
        table.insert(found, string.format("%d:%d %d %s", one.lnum, one.col, one.severity, one.code))
    end
    table.sort(found)
    return found
end
local function shown(count)
    vim.wait(60000, function() return #vim.diagnostic.get(0) == count end, 20)
    return rules()
end
local function ask(method, line, column)
    local here = { line = line, character = column }
    local params = { textDocument = vim.lsp.util.make_text_document_params(), position = here }
    params.range = { start = here, ["end"] = here }
    params.context = { diagnostics = {} }
    local answers = vim.lsp.buf_request_sync(0, method, params, 60000) or {}
    local answer = answers[client] or select(2, next(answers)) or {}
    return answer.result
end
seen.opened = shown(2)
seen.hover = ask("textDocument/hover", 1, 3).contents.value
for _, action in ipairs(ask("textDocument/codeAction", 4, 11)) do
    if action.isPreferred then vim.lsp.util.apply_workspace_edit(action.edit, "utf-16") end
end
seen.fixed = vim.api.nvim_buf_get_lines(0, 4, 5, true)[1]
seen.after = shown(1)
vim.api.nvim_buf_set_text(0, 1, 10, 1, 14, { "shop" })
seen.clean = shown(0)
-- Neovim counts bytes, the server what the protocol counts.
vim.api.nvim_buf_set_lines(0, 0, 0, true, { "a = \"\240\159\154\128\" = 1" })
seen.broken = shown(1)
vim.lsp.stop_client(client)
vim.wait(60000, function() return seen.exit ~= nil end, 20)
local out = io.open("seen.json", "w")
out:write(vim.fn.json_encode(seen))
out:close()
vim.cmd("qall!")
