/// What `kerb version` says, and what the status carries.
package enum Version {
  package static let text = "0.1.0"
}
