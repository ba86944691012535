/** Every security event that is recorded or logged, by its name. Names are API: they are never given another meaning. */
export const auditActions = {
  'user.registered': 'An account was made.',
  'user.sign_up_attempt': 'Somebody tried to sign up with the address of the account.',
  'user.login': 'A log-in opened a session.',
  'user.login_failed': 'A log-in was refused. In the process log only.',
  'credentials.refused': 'A request showed a wrong access token or API key. In the process log only.',
  'account.locked':
    'So many wrong passwords and codes were tried that guesses are not looked at for a while.',
  'email.verified': 'The e-mail address was proven.',
  'email.change_requested': 'Its owner wants another e-mail address, and has not proven it yet.',
  'email.changed': 'The account has another e-mail address.',
  'email.change_undone': 'The account has its earlier address back; its password and sessions ended.',
  'account.disowned':
    'The owner of the address said that he did not sign up; the password, sessions and keys of the account ended.',
  'password.reset_requested': 'Somebody asked for a link that sets a new password.',
  'password.changed': 'The password was changed by its owner.',
  'password.reset': 'The password was set by a mailed token.',
  'two_factor.enabled': 'Two-factor authentication was turned on, or moved to another app.',
  'two_factor.disabled': 'Two-factor authentication was turned off by its owner, or by a reset.',
  'two_factor.backup_codes_replaced': 'The account has new backup codes.',
  'two_factor.refused': 'A code was refused in a session. In the process log only.',
  'two_factor.reset_requested': 'An admin asked for two-factor authentication to be turned off in a day.',
  'two_factor.reset_stopped': 'The owner stopped a reset of two-factor authentication.',
  'refresh.reuse': 'A refresh token was used twice; its session ended.',
  'session.ended': 'A session ended by log-out or by its owner.',
  'sessions.ended_others': 'All sessions but one ended by their owner.',
  'sessions.ended_all': 'All sessions of the account ended.',
  'key.created': 'An API key was made.',
  'key.imported': 'An admin took over an API key that was made elsewhere.',
  'key.changed': 'An API key was given other settings.',
  'key.rotated': 'An API key was given a new secret.',
  'key.granted': 'An admin set the service permissions of an API key.',
  'key.version_ended': 'An old secret of an API key was ended before its time.',
  'key.deactivated': 'An API key was ended.',
  'key.compromised': 'An API key was reported as leaked, and ended for that.',
  'budget.changed': 'The monthly budget of the account was set or taken away.',
  'price.added': 'An admin set a price.',
  'tier.changed': 'An admin set the tier, or gave it back to billing.',
  'tier.billed': 'Billing gave the account another tier.',
  'role.changed': 'The account has another role.',
  'user.suspended': 'An admin suspended the account; all its sessions ended.',
  'user.restored': 'An admin ended the suspension.',
  'user.erased': 'The account was erased, and its personal part of this log.',
} as const satisfies Record<string, string>;

export type AuditAction = keyof typeof auditActions;

export const auditActionNames = Object.keys(auditActions) as AuditAction[];
