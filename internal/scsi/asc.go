package scsi

import "fmt"

// The additional sense codes in use, ASC<<8 | ASCQ (SPC-4 table F.1).
const (
	ASCNone                          ASC = 0x0000 // NO ADDITIONAL SENSE INFORMATION
	ASCOperationInProgress           ASC = 0x0016 // OPERATION IN PROGRESS
	ASCNotReady                      ASC = 0x0400 // LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE
	ASCBecomingReady                 ASC = 0x0401 // LOGICAL UNIT IS IN PROCESS OF BECOMING READY
	ASCInitializingRequired          ASC = 0x0402 // LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED
	ASCManualIntervention            ASC = 0x0403 // LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED
	ASCOperationInProgressNotReady   ASC = 0x0407 // LOGICAL UNIT NOT READY, OPERATION IN PROGRESS
	ASCAccessTransition              ASC = 0x040a // LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION
	ASCPortStandby                   ASC = 0x040b // LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE
	ASCPortUnavailable               ASC = 0x040c // LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE
	ASCSanitizeInProgress            ASC = 0x041b // LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS
	ASCCommunicationFailure          ASC = 0x0800 // LOGICAL UNIT COMMUNICATION FAILURE
	ASCUnreachableCopyTarget         ASC = 0x0804 // UNREACHABLE COPY TARGET
	ASCWarning                       ASC = 0x0b00 // WARNING
	ASCWriteError                    ASC = 0x0c00 // WRITE ERROR
	ASCUnexpectedUnsolicitedData     ASC = 0x0c0c // WRITE ERROR - UNEXPECTED UNSOLICITED DATA
	ASCNotEnoughUnsolicitedData      ASC = 0x0c0d // WRITE ERROR - NOT ENOUGH UNSOLICITED DATA
	ASCThirdPartyDeviceFailure       ASC = 0x0d01 // THIRD PARTY DEVICE FAILURE
	ASCCopyTargetNotReachable        ASC = 0x0d02 // COPY TARGET DEVICE NOT REACHABLE
	ASCCopyTargetUnderrun            ASC = 0x0d04 // COPY TARGET DEVICE DATA UNDERRUN
	ASCCopyTargetOverrun             ASC = 0x0d05 // COPY TARGET DEVICE DATA OVERRUN
	ASCInvalidFieldInCommandInfoUnit ASC = 0x0e03 // INVALID FIELD IN COMMAND INFORMATION UNIT
	ASCUnrecoveredReadError          ASC = 0x1100 // UNRECOVERED READ ERROR
	ASCWriteAfterSanitize            ASC = 0x1115 // WRITE AFTER SANITIZE REQUIRED
	ASCParameterListLength           ASC = 0x1a00 // PARAMETER LIST LENGTH ERROR
	ASCMiscompare                    ASC = 0x1d00 // MISCOMPARE DURING VERIFY OPERATION
	ASCInvalidOpCode                 ASC = 0x2000 // INVALID COMMAND OPERATION CODE
	ASCLBAOutOfRange                 ASC = 0x2100 // LOGICAL BLOCK ADDRESS OUT OF RANGE
	ASCInvalidFieldInCDB             ASC = 0x2400 // INVALID FIELD IN CDB
	ASCLUNotSupported                ASC = 0x2500 // LOGICAL UNIT NOT SUPPORTED
	ASCInvalidFieldInParameterList   ASC = 0x2600 // INVALID FIELD IN PARAMETER LIST
	ASCParameterNotSupported         ASC = 0x2601 // PARAMETER NOT SUPPORTED
	ASCParameterValueInvalid         ASC = 0x2602 // PARAMETER VALUE INVALID
	ASCInvalidRelease                ASC = 0x2604 // INVALID RELEASE OF PERSISTENT RESERVATION
	ASCTooManyTargetDescriptors      ASC = 0x2606 // TOO MANY TARGET DESCRIPTORS
	ASCUnsupportedTargetDescriptor   ASC = 0x2607 // UNSUPPORTED TARGET DESCRIPTOR TYPE CODE
	ASCTooManySegmentDescriptors     ASC = 0x2608 // TOO MANY SEGMENT DESCRIPTORS
	ASCUnsupportedSegmentDescriptor  ASC = 0x2609 // UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE
	ASCInlineDataLengthExceeded      ASC = 0x260b // INLINE DATA LENGTH EXCEEDED
	ASCInvalidCopyOperation          ASC = 0x260c // INVALID OPERATION FOR COPY SOURCE OR DESTINATION
	ASCWriteProtected                ASC = 0x2700 // WRITE PROTECTED
	ASCSoftwareWriteProtected        ASC = 0x2702 // LOGICAL UNIT SOFTWARE WRITE PROTECTED
	ASCSpaceAllocationFailed         ASC = 0x2707 // SPACE ALLOCATION FAILED WRITE PROTECT
	ASCMediumMayHaveChanged          ASC = 0x2800 // NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED
	ASCPowerOnOrReset                ASC = 0x2900 // POWER ON, RESET, OR BUS DEVICE RESET OCCURRED
	ASCPowerOn                       ASC = 0x2901 // POWER ON OCCURRED
	ASCBusReset                      ASC = 0x2902 // SCSI BUS RESET OCCURRED
	ASCDeviceReset                   ASC = 0x2903 // BUS DEVICE RESET FUNCTION OCCURRED
	ASCInternalReset                 ASC = 0x2904 // DEVICE INTERNAL RESET
	ASCNexusLoss                     ASC = 0x2907 // I_T NEXUS LOSS OCCURRED
	ASCParametersChanged             ASC = 0x2a00 // PARAMETERS CHANGED
	ASCModeParametersChanged         ASC = 0x2a01 // MODE PARAMETERS CHANGED
	ASCLogParametersChanged          ASC = 0x2a02 // LOG PARAMETERS CHANGED
	ASCReservationsPreempted         ASC = 0x2a03 // RESERVATIONS PREEMPTED
	ASCReservationsReleased          ASC = 0x2a04 // RESERVATIONS RELEASED
	ASCRegistrationsPreempted        ASC = 0x2a05 // REGISTRATIONS PREEMPTED
	ASCAccessStateChanged            ASC = 0x2a06 // ASYMMETRIC ACCESS STATE CHANGED
	ASCCapacityChanged               ASC = 0x2a09 // CAPACITY DATA HAS CHANGED
	ASCCommandSequence               ASC = 0x2c00 // COMMAND SEQUENCE ERROR
	ASCCommandsCleared               ASC = 0x2f00 // COMMANDS CLEARED BY ANOTHER INITIATOR
	ASCSanitizeFailed                ASC = 0x3103 // SANITIZE COMMAND FAILED
	ASCThinSoftThreshold             ASC = 0x3807 // THIN PROVISIONING SOFT THRESHOLD REACHED
	ASCSavingNotSupported            ASC = 0x3900 // SAVING PARAMETERS NOT SUPPORTED
	ASCMediumNotPresent              ASC = 0x3a00 // MEDIUM NOT PRESENT
	ASCMediumNotPresentTrayClosed    ASC = 0x3a01 // MEDIUM NOT PRESENT - TRAY CLOSED
	ASCMediumNotPresentTrayOpen      ASC = 0x3a02 // MEDIUM NOT PRESENT - TRAY OPEN
	ASCInquiryDataChanged            ASC = 0x3f03 // INQUIRY DATA HAS CHANGED
	ASCReportedLUNsChanged           ASC = 0x3f0e // REPORTED LUNS DATA HAS CHANGED
	ASCSelfTestFailed                ASC = 0x3e03 // LOGICAL UNIT FAILED SELF-TEST
	ASCInternalTargetFailure         ASC = 0x4400 // INTERNAL TARGET FAILURE
	ASCProtocolServiceCRC            ASC = 0x4705 // PROTOCOL SERVICE CRC ERROR
	ASCInvalidMessage                ASC = 0x4900 // INVALID MESSAGE ERROR
	ASCDataPhaseError                ASC = 0x4b00 // DATA PHASE ERROR
	ASCTooMuchWriteData              ASC = 0x4b02 // TOO MUCH WRITE DATA
	ASCDataOffsetError               ASC = 0x4b05 // DATA OFFSET ERROR
	ASCOverlappedCommands            ASC = 0x4e00 // OVERLAPPED COMMANDS ATTEMPTED
	ASCMediumRemovalPrevented        ASC = 0x5302 // MEDIUM REMOVAL PREVENTED
	ASCSystemResourceFailure         ASC = 0x5500 // SYSTEM RESOURCE FAILURE
	ASCInsufficientResources         ASC = 0x5503 // INSUFFICIENT RESOURCES
	ASCInsufficientRegistrations     ASC = 0x5504 // INSUFFICIENT REGISTRATION RESOURCES
	ASCInsufficientAccessControl     ASC = 0x5505 // INSUFFICIENT ACCESS CONTROL RESOURCES
	ASCFailurePredictionExceeded     ASC = 0x5d00 // FAILURE PREDICTION THRESHOLD EXCEEDED
	ASCFailurePredictionFalse        ASC = 0x5dff // FAILURE PREDICTION THRESHOLD EXCEEDED (FALSE)
	ASCSetTargetPortGroupsFailed     ASC = 0x670a // SET TARGET PORT GROUPS COMMAND FAILED
)

var ascNames = map[ASC]string{
	ASCNone:                          "NO ADDITIONAL SENSE INFORMATION",
	ASCOperationInProgress:           "OPERATION IN PROGRESS",
	ASCNotReady:                      "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE",
	ASCBecomingReady:                 "LOGICAL UNIT IS IN PROCESS OF BECOMING READY",
	ASCInitializingRequired:          "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED",
	ASCManualIntervention:            "LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED",
	ASCOperationInProgressNotReady:   "LOGICAL UNIT NOT READY, OPERATION IN PROGRESS",
	ASCAccessTransition:              "LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION",
	ASCPortStandby:                   "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE",
	ASCPortUnavailable:               "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE",
	ASCSanitizeInProgress:            "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS",
	ASCCommunicationFailure:          "LOGICAL UNIT COMMUNICATION FAILURE",
	ASCUnreachableCopyTarget:         "UNREACHABLE COPY TARGET",
	ASCWarning:                       "WARNING",
	ASCWriteError:                    "WRITE ERROR",
	ASCUnexpectedUnsolicitedData:     "WRITE ERROR - UNEXPECTED UNSOLICITED DATA",
	ASCNotEnoughUnsolicitedData:      "WRITE ERROR - NOT ENOUGH UNSOLICITED DATA",
	ASCThirdPartyDeviceFailure:       "THIRD PARTY DEVICE FAILURE",
	ASCCopyTargetNotReachable:        "COPY TARGET DEVICE NOT REACHABLE",
	ASCCopyTargetUnderrun:            "COPY TARGET DEVICE DATA UNDERRUN",
	ASCCopyTargetOverrun:             "COPY TARGET DEVICE DATA OVERRUN",
	ASCInvalidFieldInCommandInfoUnit: "INVALID FIELD IN COMMAND INFORMATION UNIT",
	ASCUnrecoveredReadError:          "UNRECOVERED READ ERROR",
	ASCWriteAfterSanitize:            "WRITE AFTER SANITIZE REQUIRED",
	ASCParameterListLength:           "PARAMETER LIST LENGTH ERROR",
	ASCMiscompare:                    "MISCOMPARE DURING VERIFY OPERATION",
	ASCInvalidOpCode:                 "INVALID COMMAND OPERATION CODE",
	ASCLBAOutOfRange:                 "LOGICAL BLOCK ADDRESS OUT OF RANGE",
	ASCInvalidFieldInCDB:             "INVALID FIELD IN CDB",
	ASCLUNotSupported:                "LOGICAL UNIT NOT SUPPORTED",
	ASCInvalidFieldInParameterList:   "INVALID FIELD IN PARAMETER LIST",
	ASCParameterNotSupported:         "PARAMETER NOT SUPPORTED",
	ASCParameterValueInvalid:         "PARAMETER VALUE INVALID",
	ASCInvalidRelease:                "INVALID RELEASE OF PERSISTENT RESERVATION",
	ASCTooManyTargetDescriptors:      "TOO MANY TARGET DESCRIPTORS",
	ASCUnsupportedTargetDescriptor:   "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE",
	ASCTooManySegmentDescriptors:     "TOO MANY SEGMENT DESCRIPTORS",
	ASCUnsupportedSegmentDescriptor:  "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE",
	ASCInlineDataLengthExceeded:      "INLINE DATA LENGTH EXCEEDED",
	ASCInvalidCopyOperation:          "INVALID OPERATION FOR COPY SOURCE OR DESTINATION",
	ASCWriteProtected:                "WRITE PROTECTED",
	ASCSoftwareWriteProtected:        "LOGICAL UNIT SOFTWARE WRITE PROTECTED",
	ASCSpaceAllocationFailed:         "SPACE ALLOCATION FAILED WRITE PROTECT",
	ASCMediumMayHaveChanged:          "NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED",
	ASCPowerOnOrReset:                "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED",
	ASCPowerOn:                       "POWER ON OCCURRED",
	ASCBusReset:                      "SCSI BUS RESET OCCURRED",
	ASCDeviceReset:                   "BUS DEVICE RESET FUNCTION OCCURRED",
	ASCInternalReset:                 "DEVICE INTERNAL RESET",
	ASCNexusLoss:                     "I_T NEXUS LOSS OCCURRED",
	ASCParametersChanged:             "PARAMETERS CHANGED",
	ASCModeParametersChanged:         "MODE PARAMETERS CHANGED",
	ASCLogParametersChanged:          "LOG PARAMETERS CHANGED",
	ASCReservationsPreempted:         "RESERVATIONS PREEMPTED",
	ASCReservationsReleased:          "RESERVATIONS RELEASED",
	ASCRegistrationsPreempted:        "REGISTRATIONS PREEMPTED",
	ASCAccessStateChanged:            "ASYMMETRIC ACCESS STATE CHANGED",
	ASCCapacityChanged:               "CAPACITY DATA HAS CHANGED",
	ASCCommandSequence:               "COMMAND SEQUENCE ERROR",
	ASCCommandsCleared:               "COMMANDS CLEARED BY ANOTHER INITIATOR",
	ASCSanitizeFailed:                "SANITIZE COMMAND FAILED",
	ASCThinSoftThreshold:             "THIN PROVISIONING SOFT THRESHOLD REACHED",
	ASCSavingNotSupported:            "SAVING PARAMETERS NOT SUPPORTED",
	ASCMediumNotPresent:              "MEDIUM NOT PRESENT",
	ASCMediumNotPresentTrayClosed:    "MEDIUM NOT PRESENT - TRAY CLOSED",
	ASCMediumNotPresentTrayOpen:      "MEDIUM NOT PRESENT - TRAY OPEN",
	ASCInquiryDataChanged:            "INQUIRY DATA HAS CHANGED",
	ASCReportedLUNsChanged:           "REPORTED LUNS DATA HAS CHANGED",
	ASCInternalTargetFailure:         "INTERNAL TARGET FAILURE",
	ASCProtocolServiceCRC:            "PROTOCOL SERVICE CRC ERROR",
	ASCInvalidMessage:                "INVALID MESSAGE ERROR",
	ASCDataPhaseError:                "DATA PHASE ERROR",
	ASCTooMuchWriteData:              "TOO MUCH WRITE DATA",
	ASCDataOffsetError:               "DATA OFFSET ERROR",
	ASCOverlappedCommands:            "OVERLAPPED COMMANDS ATTEMPTED",
	ASCMediumRemovalPrevented:        "MEDIUM REMOVAL PREVENTED",
	ASCSystemResourceFailure:         "SYSTEM RESOURCE FAILURE",
	ASCInsufficientResources:         "INSUFFICIENT RESOURCES",
	ASCInsufficientRegistrations:     "INSUFFICIENT REGISTRATION RESOURCES",
	ASCInsufficientAccessControl:     "INSUFFICIENT ACCESS CONTROL RESOURCES",
	ASCFailurePredictionExceeded:     "FAILURE PREDICTION THRESHOLD EXCEEDED",
	ASCFailurePredictionFalse:        "FAILURE PREDICTION THRESHOLD EXCEEDED (FALSE)",
	ASCSetTargetPortGroupsFailed:     "SET TARGET PORT GROUPS COMMAND FAILED",
}

// String returns the words of SPC-4 table F.1, or the code as xxh/xxh.
func (a ASC) String() string {
	if n, ok := ascNames[a]; ok {
		return n
	}
	return fmt.Sprintf("ASC/ASCQ %02xh/%02xh", uint8(a>>8), uint8(a))
}
