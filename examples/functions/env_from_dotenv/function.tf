output "env" {
  value = provider::sampan::env_from_dotenv("COLOR=blue\nGREETING='hello world'\n")
}
