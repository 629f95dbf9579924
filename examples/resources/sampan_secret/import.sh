# The values stay on the server. The first apply after an import sends data_wo only if wo_version changes.
terraform import sampan_secret.database shop/database
