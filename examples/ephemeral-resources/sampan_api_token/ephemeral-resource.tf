# Lives as long as this run of Terraform.
ephemeral "sampan_api_token" "reader" {
  role = "read_only"
}

# What may only read reads with a token that can do no more.
provider "sampan" {
  alias = "reader"
  token = ephemeral.sampan_api_token.reader.token
}
