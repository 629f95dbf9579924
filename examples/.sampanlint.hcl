# The pages of the Registry show one resource at a time: what they refer to, and what reads them, is not there.
per_path "**resources/**" {
  ignore = ["SMP901"]
}
per_path "**data-sources/**" {
  ignore = ["SMP901", "SMP904"]
}
per_path "**functions/**" {
  ignore = ["SMP901"]
}
per_path "**ephemeral-resources/**" {
  ignore = ["SMP901"]
}
