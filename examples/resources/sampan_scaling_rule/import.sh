terraform import sampan_scaling_rule.load shop/load
