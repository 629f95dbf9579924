root            = true
required_labels = ["owner"]
registries      = ["registry.example.com"]
budget_cpu      = "64"
